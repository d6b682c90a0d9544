"""Each attempt at a provider is one governed call: reserved, counted, charged. The retries of user code's client are still made."""

import asyncio
import gc
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.config import Config
from langchain_anthropic import ChatAnthropic
from langchain_aws import ChatBedrockConverse
from langchain_core.language_models import BaseChatModel, FakeListChatModel
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph

from governor.stores.memory import MemoryStore
from governor_langgraph import attempts, govern
from governor_langgraph.attempts import Attempts, single_attempt
from governor_langgraph.vendors import Failure
from governor_sandbox import Fault, Reply, Sandbox, Scenario
from tests.vendors.clients import ANTHROPIC, BEDROCK, FAMILIES, MODELS, OPENAI, session

RETRIES = 2
ASKED: Any = {"messages": [HumanMessage("Go on.")]}
BUDGETS = [{"id": "b", "scope": "org", "limit": {"usd": 10, "model_calls": 10}}]

COUNTED = [{"id": "b", "scope": "org", "limit": {"model_calls": 10}}]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between attempts are a rule of their own; here nobody waits for them."""
    monkeypatch.setattr(attempts, "FIRST_PAUSE_S", 0.0)


@pytest.fixture
def wordy() -> Iterator[Sandbox]:
    with Sandbox(Scenario.from_callable(lambda _: Reply(text="word " * 40, chunk_tokens=1))) as box:
        yield box


def retrying(family: str, box: Sandbox, retries: int = RETRIES, **settings: Any) -> BaseChatModel:
    """A client as user code makes it, which sends a failed request again by itself."""
    common: dict[str, Any] = {"model": MODELS[family], "max_tokens": 300, **settings}
    if family == BEDROCK:
        config = Config(retries={"total_max_attempts": retries + 1})
        made: Any = session().client("bedrock-runtime", config=config, **box.bedrock_kwargs())
        return ChatBedrockConverse(client=made, bedrock_client=made, disable_streaming=False, **common)
    common["max_retries"] = retries
    if family == ANTHROPIC:
        return ChatAnthropic(**box.anthropic_kwargs(), **common)
    return ChatOpenAI(stream_usage=True, **box.openai_kwargs(), **common)


def whole(model: BaseChatModel) -> str:
    return str(model.invoke(ASKED["messages"]).text)


def streamed(model: BaseChatModel) -> str:
    return "".join(str(chunk.text) for chunk in model.stream(ASKED["messages"]))


def awaited(model: BaseChatModel) -> str:
    async def ask() -> str:
        return str((await model.ainvoke(ASKED["messages"])).text)

    return asyncio.run(ask())


def streamed_async(model: BaseChatModel) -> str:
    async def ask() -> str:
        return "".join([str(chunk.text) async for chunk in model.astream(ASKED["messages"])])

    return asyncio.run(ask())


WAYS = [whole, streamed, awaited, streamed_async]


def governed(
    model: BaseChatModel, way: Callable[[BaseChatModel], str] = whole, clients: Any = None, **parts: Any
) -> tuple[Any, MemoryStore]:
    """A graph of one node that calls the model in that way, and the store of its ledgers."""

    def node(state: MessagesState) -> dict[str, Any]:
        return {"messages": [("ai", way(model))]}

    graph = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    policy = {
        "governor": 1,
        "name": "p",
        "identity": {"org": "acme"},
        "budgets": BUDGETS,
        "tools": {"default": "allow"},
    }
    store = MemoryStore()
    return govern(graph, {**policy, **parts}, store=store, clients=clients), store


def spent(store: MemoryStore, unit: str) -> int:
    return sum(balance.spent for balance in store.balances() if balance.unit == unit)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["disconnect", "server_error", "throttle"])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_the_client_would_have_retried_is_retried_and_every_attempt_is_paid(
    wordy: Sandbox, family: str, kind: Any, way: Callable[[BaseChatModel], str]
) -> None:
    wordy.fault(Fault(kind=kind, nth=(1, 2)))
    app, store = governed(retrying(family, wordy), way)

    result = app.invoke(ASKED)

    assert "word " * 40 == result["messages"][-1].text
    assert (1 if kind == "throttle" else 3) == spent(store, "model_calls")
    assert spent(store, "nano_usd") >= wordy.meter.bill().nano_usd


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("family", FAMILIES)
def test_no_more_attempts_are_made_than_the_client_would_make(
    wordy: Sandbox, family: str, way: Callable[[BaseChatModel], str]
) -> None:
    wordy.fault(Fault(kind="server_error"))
    app, store = governed(retrying(family, wordy), way)

    with pytest.raises(Exception, match=r"(?i)internal|error"):
        app.invoke(ASKED)

    assert 1 + RETRIES == spent(store, "model_calls")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_hard_limit_holds_although_the_client_retries(wordy: Sandbox, family: str) -> None:
    wordy.fault(Fault(kind="disconnect", nth=(1, 2)))
    budgets = [{"id": "b", "scope": "org", "limit": {"model_calls": 1}}]
    app, _ = governed(retrying(family, wordy), budgets=budgets)

    app.invoke(ASKED)

    assert 1 == wordy.meter.bill().requests


@pytest.mark.parametrize("family", FAMILIES)
def test_a_request_that_can_never_succeed_is_sent_once(wordy: Sandbox, family: str) -> None:
    app, store = governed(retrying(family, wordy, model=f"{MODELS[family]}-none"), budgets=COUNTED)

    with pytest.raises(Exception, match="none"):
        app.invoke(ASKED)

    assert 0 == spent(store, "model_calls")


@pytest.mark.parametrize("way", [streamed, streamed_async])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_answer_that_its_reader_has_a_part_of_is_not_begun_again(
    wordy: Sandbox, family: str, way: Callable[[BaseChatModel], str]
) -> None:
    wordy.fault(Fault(kind="disconnect", nth=(1,), after_chunks=5))
    app, store = governed(retrying(family, wordy), way)

    with pytest.raises(Exception):  # noqa: B017, PT011 - each transport has an error of its own
        app.invoke(ASKED)

    assert 1 == spent(store, "model_calls")


@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_that_a_reader_of_the_graph_has_seen_do_not_come_twice(wordy: Sandbox, family: str) -> None:
    wordy.fault(Fault(kind="disconnect", nth=(1,), after_chunks=5))
    app, store = governed(retrying(family, wordy))

    with pytest.raises(Exception):  # noqa: B017, PT011 - each transport has an error of its own
        list(app.stream(ASKED, stream_mode="messages"))

    assert 1 == spent(store, "model_calls")


@pytest.mark.parametrize("family", FAMILIES)
def test_where_nothing_counts_the_client_retries_by_itself(wordy: Sandbox, family: str) -> None:
    wordy.fault(Fault(kind="throttle", nth=(1, 2), retry_after_s=0))
    model = retrying(family, wordy)
    app, _ = governed(model, budgets=[])

    assert "word " * 40 == app.invoke(ASKED)["messages"][-1].text
    assert [] == [known for known in attempts._known.values() if known.of() is model]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tier_is_asked_again_as_often_as_the_client_it_stands_in_for(wordy: Sandbox, family: str) -> None:
    wordy.fault(Fault(kind="disconnect", nth=(1, 2)))
    tiers = {"t": {"model": f"openai:{MODELS[OPENAI]}", "max_output_tokens": 200}}
    client = retrying(OPENAI, wordy, retries=0)
    app, store = governed(retrying(family, wordy), clients={"t": client}, tiers=tiers, routing={"default": "t"})

    assert "word " * 40 == app.invoke(ASKED)["messages"][-1].text
    assert 3 == spent(store, "model_calls")


@pytest.mark.parametrize("used", [False, True], ids=["fresh", "used"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_copy_is_the_client_but_for_its_retries_and_the_client_is_left_alone(
    wordy: Sandbox, family: str, used: bool
) -> None:
    model = retrying(family, wordy, tags=["mine"], metadata={"a": 1})
    if used:
        whole(model)
    before, fields = dict(vars(model)), set(model.model_fields_set)

    copy, retries = single_attempt(model)
    again, none = single_attempt(copy)

    assert RETRIES == retries
    assert (type(model), ["mine"], 1, fields) == (
        type(copy),
        copy.tags,
        (copy.metadata or {})["a"],
        copy.model_fields_set,
    )
    assert before == vars(model)
    assert (copy, 0) == (again, none)
    assert single_attempt(model)[0] is copy
    assert "word " * 40 == whole(copy)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_copy_follows_what_user_code_changes_and_is_forgotten_with_its_client(wordy: Sandbox, family: str) -> None:
    model: Any = retrying(family, wordy)
    single_attempt(model)
    model.max_tokens = 77
    key = id(model)

    assert 77 == vars(single_attempt(model)[0])["max_tokens"]
    assert key in attempts._known
    del model
    gc.collect()
    assert key not in attempts._known


def test_a_client_that_never_retries_stands_for_itself() -> None:
    model = FakeListChatModel(responses=["ok"])

    assert (model, 0) == single_attempt(model)


@pytest.mark.parametrize(
    ("mode", "retries"),
    [({"mode": "legacy"}, 4), ({"mode": "standard"}, 2), ({"mode": "adaptive", "max_attempts": 6}, 6)],
    ids=str,
)
def test_botos_own_defaults_are_known(wordy: Sandbox, mode: Any, retries: int) -> None:
    made: Any = session().client("bedrock-runtime", config=Config(retries=mode), **wordy.bedrock_kwargs())
    model = ChatBedrockConverse(model=MODELS[BEDROCK], client=made, bedrock_client=made)

    assert retries == single_attempt(model)[1]


PASSING = Failure(rejected=False, transient=True, code="x", resent=True)


@pytest.mark.parametrize(
    ("headers", "pause_s"),
    [({"retry-after": "3"}, 3.0), ({"retry-after-ms": "250"}, 0.25), ({"retry-after": "900"}, 0.0)],
)
def test_a_pause_that_the_provider_asks_for_is_kept_if_it_is_short(headers: dict[str, str], pause_s: float) -> None:
    error: Any = Exception("too many requests")
    error.response = SimpleNamespace(headers=headers)
    tried = Attempts()
    tried.allowed = 1

    assert tried.again(error, PASSING)
    assert pause_s == tried._taken()
    assert not tried.again(error, PASSING)


def test_pauses_double_up_to_a_longest_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "FIRST_PAUSE_S", 0.5)
    tried = Attempts()
    tried.allowed = 6

    for longest in (0.5, 1.0, 2.0, 4.0, 8.0, 8.0):
        assert tried.again(ConnectionError(), PASSING)
        assert 0.75 * longest <= tried._taken() <= longest


def test_where_a_part_may_have_been_read_only_a_failure_before_the_answer_is_repeated() -> None:
    tried = Attempts()
    tried.allowed = 1
    before = Failure(rejected=True, transient=True, code="x", resent=True, unanswered=True)

    assert not tried.again(ConnectionError(), PASSING, read=True)
    assert tried.again(ConnectionError(), before, read=True)
