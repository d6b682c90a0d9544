"""Every kind of tier target, as a policy writes it, at the sandbox's addresses."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from langchain_core.language_models import BaseChatModel, FakeListChatModel
from langchain_core.messages import HumanMessage
from langgraph.graph import START, MessagesState, StateGraph
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from governor.ledger import Lease, Refusal, ReserveRequest, Unit
from governor.policy.load import load
from governor.runtime import Runtime
from governor.stores.memory import MemoryStore
from governor.telemetry import Telemetry
from governor_langgraph import govern
from governor_sandbox import ModelRow, Reply, Sandbox, Scenario

EASY, HARD = "Go on.", "Prove it. " * 40
"""What a prompt router gives to the cheaper of its models, and to the dearer one."""

ACCOUNT = "arn:aws:bedrock:us-east-1:123456789012"
ROUTER = f"{ACCOUNT}:default-prompt-router/anthropic.claude:1"
APPLICATION = f"{ACCOUNT}:application-inference-profile/a1b2c3d4e5f6"
CHEAP, DEAR = "anthropic.claude-haiku-4-5-20251001-v1:0", "us.anthropic.claude-sonnet-4-6"
SCENARIO = Scenario(
    behaviour=Scenario.from_callable(lambda _: Reply(text="word " * 40, chunk_tokens=4)).behaviour,
    models={
        ROUTER: ModelRow(like="anthropic.claude-sonnet-4-6", routes=(CHEAP, DEAR)),
        APPLICATION: ModelRow(like="anthropic.claude-sonnet-4-6", regional_percent=100),
    },
)

SECRETS = {"AIG_TOKEN": "cf-token", "LITELLM_KEY": "sk-litellm", "PORTKEY_KEY": "pk-token"}
_CLOUDFLARE = {"cf-aig-authorization": "Bearer ${AIG_TOKEN}"}
_LITELLM = {"Authorization": "Bearer ${LITELLM_KEY}"}
_PORTKEY = {"x-portkey-api-key": "${PORTKEY_KEY}"}
_AT_CLOUDFLARE = "/cloudflare/v1/account/gateway"


@dataclass(frozen=True)
class Target:
    """One tier, and where in the sandbox it goes."""

    model: str
    path: str
    headers: Mapping[str, str] | None = None
    serves: tuple[str, ...] = ()
    gateway: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def tier(self, box: Sandbox) -> dict[str, Any]:
        place: dict[str, Any] = {"base_url": box.url + self.path}
        if self.headers is not None:
            place = {"gateway": {**place, "headers": dict(self.headers)}}
        serves = {"serves": list(self.serves)} if self.serves else {}
        return {"model": self.model, "max_output_tokens": 200, **place, **serves, **self.more}


TARGETS: Mapping[str, Target] = {
    "bedrock": Target("bedrock_converse:amazon.nova-pro-v1:0", ""),
    "bedrock us profile": Target("bedrock_converse:us.anthropic.claude-sonnet-4-6", ""),
    "bedrock global profile": Target("bedrock_converse:global.anthropic.claude-sonnet-4-6", ""),
    "bedrock profile arn": Target(
        f"bedrock_converse:{ACCOUNT}:inference-profile/us.anthropic.claude-sonnet-4-6",
        "",
        more={"args": {"provider": "anthropic"}},
    ),
    "bedrock application profile": Target(
        f"bedrock_converse:{APPLICATION}", "", serves=("bedrock_converse:global.anthropic.claude-sonnet-4-6",)
    ),
    "bedrock prompt router": Target(
        f"bedrock_converse:{ROUTER}", "", serves=(f"bedrock_converse:global.{CHEAP}", f"bedrock_converse:{DEAR}")
    ),
    "anthropic": Target("anthropic:claude-sonnet-4-6", ""),
    "openai": Target("openai:gpt-4.1", "/v1"),
    "cloudflare openai": Target("openai:openai/gpt-4.1", f"{_AT_CLOUDFLARE}/compat", _CLOUDFLARE, gateway="cloudflare"),
    "cloudflare claude": Target(
        "openai:anthropic/claude-sonnet-4-6", f"{_AT_CLOUDFLARE}/compat", _CLOUDFLARE, gateway="cloudflare"
    ),
    "cloudflare workers ai": Target(
        "openai:workers-ai/@cf/meta/llama-3.3-70b-instruct-fp8-fast",
        f"{_AT_CLOUDFLARE}/compat",
        _CLOUDFLARE,
        gateway="cloudflare",
    ),
    "cloudflare anthropic": Target(
        "anthropic:claude-sonnet-4-6", f"{_AT_CLOUDFLARE}/anthropic", _CLOUDFLARE, gateway="cloudflare"
    ),
    "cloudflare bedrock": Target(
        "bedrock_converse:us.anthropic.claude-sonnet-4-6",
        f"{_AT_CLOUDFLARE}/aws-bedrock/bedrock-runtime/us-east-1",
        _CLOUDFLARE,
        gateway="cloudflare",
    ),
    "litellm": Target("openai:gpt-4.1", "/litellm", _LITELLM, gateway="litellm"),
    "litellm alias": Target(
        "openai:our-best",
        "/litellm/v1",
        _LITELLM,
        serves=("anthropic:claude-sonnet-4-6",),
        gateway="litellm",
    ),
    "portkey slug": Target(
        "openai:@openai-prod/gpt-4.1", "/portkey/v1", _PORTKEY, serves=("openai:gpt-4.1",), gateway="portkey"
    ),
    "portkey provider": Target(
        "openai:claude-sonnet-4-6",
        "/portkey/v1",
        {**_PORTKEY, "x-portkey-provider": "@claude-prod"},
        serves=("anthropic:claude-sonnet-4-6",),
        gateway="portkey",
    ),
}
ALIASES = {"our-best": "anthropic/claude-sonnet-4-6"}
"""LiteLLM's own model groups."""
BEHIND = [name for name, target in TARGETS.items() if target.gateway]


class Watched(MemoryStore):
    """A store that remembers what was held."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[int] = []

    def reserve(self, request: ReserveRequest) -> Lease | Refusal:
        self.held += [hold.amount for hold in request.holds if hold.unit is Unit.NANO_USD]
        return super().reserve(request)

    def spent(self, unit: str = "nano_usd") -> int:
        return sum(balance.spent for balance in self.balances() if balance.unit == unit)

    @property
    def reserved(self) -> int:
        """What is held still."""
        return sum(balance.reserved for balance in self.balances())


@dataclass
class Governed:
    """A graph of one node whose calls are answered by a target, and what is known of them."""

    app: Any
    store: Watched
    exporter: InMemorySpanExporter

    def ask(self, text: str = EASY) -> str:
        return str(self.app.invoke({"messages": [HumanMessage(text)]})["messages"][-1].text)

    def calls(self) -> list[Mapping[str, Any]]:
        """The attributes of the model calls' spans."""
        spans = (dict(span.attributes or {}) for span in self.exporter.get_finished_spans())
        return [attributes for attributes in spans if "governor.cost_nano_usd" in attributes]

    def traced(self) -> str:
        """All that was traced."""
        return " ".join(span.to_json() for span in self.exporter.get_finished_spans())


Way = Callable[[BaseChatModel, list[Any], int], list[str]]
"""Asks a model the same so many times, one after the other, and gives the answers."""


def whole(model: BaseChatModel, messages: list[Any], times: int) -> list[str]:
    return [str(model.invoke(messages).text) for _ in range(times)]


def streamed(model: BaseChatModel, messages: list[Any], times: int) -> list[str]:
    return ["".join(str(chunk.text) for chunk in model.stream(messages)) for _ in range(times)]


def awaited(model: BaseChatModel, messages: list[Any], times: int) -> list[str]:
    async def ask() -> list[str]:
        return [str((await model.ainvoke(messages)).text) for _ in range(times)]

    return asyncio.run(ask())


def streamed_async(model: BaseChatModel, messages: list[Any], times: int) -> list[str]:
    async def ask() -> list[str]:
        return ["".join([str(chunk.text) async for chunk in model.astream(messages)]) for _ in range(times)]

    return asyncio.run(ask())


WAYS: list[Way] = [whole, awaited, streamed, streamed_async]


def governed(
    tier: Mapping[str, Any], way: Way = whole, model: BaseChatModel | None = None, times: int = 1, **parts: Any
) -> Governed:
    """Everything that the node asks of its own model is answered by the tier."""
    own = model or FakeListChatModel(responses=["nobody asks this one"])

    def node(state: MessagesState) -> dict[str, Any]:
        return {"messages": [("ai", "|".join(way(own, state["messages"], times)))]}

    graph = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    loaded = load(
        {
            "governor": 1,
            "name": "targets",
            "identity": {"org": "acme"},
            "budgets": [{"id": "b", "scope": "org", "limit": {"usd": 10, "model_calls": 20}}],
            "tiers": {"t": dict(tier)},
            "routing": {"default": "t"},
            **parts,
        }
    )
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    store = Watched()
    runtime = Runtime(loaded, store=store, telemetry=Telemetry(loaded, tracer=provider.get_tracer("test")))
    return Governed(govern(graph, loaded, runtime=runtime), store, exporter)
