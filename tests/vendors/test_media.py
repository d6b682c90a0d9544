"""What is held for a prompt with pictures, documents and recordings is no less than what the sandbox bills, which counts by itself.

How loose the bound is, and why, by rule of counting:
    Claude   1.1, and 2 for the narrowest: scaling down is by whole patches. A PDF page is taken to have 3,000 tokens of text
    Nova     2.2: AWS publishes examples, no formula
    patches  1.1 where the multiplier is published; 1.8 where developers measured another, or fewer patches
    tiles    6 for small pictures, which the guide says are enlarged and developers see as they are; 1 for large ones, 2.3 for the narrow
"""

import base64
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph

from governor import RunStopped
from governor.calls import ModelRef
from governor.ledger import Lease, Refusal, ReserveRequest, Unit
from governor.media import Media
from governor.media_tokens import media_tokens
from governor.stores.memory import MemoryStore
from governor_langgraph import govern
from governor_sandbox import Sandbox
from governor_sandbox.catalogue import Catalogue
from governor_sandbox.pictures import RULES
from tests.media_files import PICTURES, docx, gif, mp4, pdf, png, wav
from tests.vendors.clients import anthropic, bedrock, openai

MODELS: Mapping[str, tuple[Callable[..., BaseChatModel], str]] = {
    "claude": (anthropic, "claude-sonnet-4-6"),
    "claude-4.7": (anthropic, "claude-opus-4-7"),
    "bedrock-claude": (bedrock, "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
    "bedrock-claude-5.5": (bedrock, "us.anthropic.claude-sonnet-5-5"),
    "nova": (bedrock, "amazon.nova-pro-v1:0"),
    "nova-2": (bedrock, "us.amazon.nova-2-lite-v1:0"),
    "tiles": (openai, "gpt-4.1"),
    "tiles-4o-mini": (openai, "gpt-4o-mini"),
    "tiles-5": (openai, "gpt-5"),
    "patches": (openai, "gpt-4.1-mini"),
    "patches-5.2": (openai, "gpt-5.2"),
    "patches-nano": (openai, "gpt-5-nano"),
}
BOXES = ("claude", "bedrock-claude", "nova", "tiles", "patches")


class Watched(MemoryStore):
    """Keeps what was held for each call."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[dict[Unit, int]] = []

    def reserve(self, request: ReserveRequest) -> Lease | Refusal:
        answer = super().reserve(request)
        if isinstance(answer, Lease):
            self.held.append({hold.unit: hold.amount for hold in request.holds})
        return answer


def governed(model: Any, store: MemoryStore, **limit: Any) -> Any:
    def node(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    budgets = [{"id": "b", "scope": "run", "limit": limit or {"usd": 1_000, "input_tokens": "100M"}}]
    policy = {
        "governor": 1,
        "name": "p",
        "tools": {"default": "allow"},
        "budgets": budgets,
        "on_exhausted": "stop",
    }
    return govern(graph, policy, store=store)


def settled(box: Sandbox, model: BaseChatModel, messages: list[BaseMessage]) -> tuple[int, int]:
    """Prompt tokens held and billed of one call; what was held in money and is in the ledger agrees with the bill."""
    store = Watched()
    seen = len(box.meter.records)
    governed(model, store).invoke({"messages": messages})
    (record,), (held,) = box.meter.records[seen:], store.held
    spent = {balance.unit: balance.spent for balance in store.balances()}

    assert "ok" == record.outcome
    assert all(balance.reserved == 0 for balance in store.balances())
    assert record.usage.input == spent[Unit.INPUT_TOKENS] <= held[Unit.INPUT_TOKENS]
    assert record.nano_usd == spent[Unit.NANO_USD] <= held[Unit.NANO_USD]
    return held[Unit.INPUT_TOKENS], record.usage.input


def url(raw: bytes, mime: str) -> str:
    return f"data:{mime};base64,{base64.b64encode(raw).decode()}"


def picture(raw: bytes, kind: str = "png", detail: str | None = None) -> dict[str, Any]:
    """In the form that every client takes."""
    asked = {"detail": detail} if detail else {}
    return {"type": "image_url", "image_url": {"url": url(raw, f"image/{kind}"), **asked}}


def asked(*blocks: dict[str, Any]) -> list[BaseMessage]:
    return [HumanMessage([{"type": "text", "text": "What do you see, and is the parcel damaged?"}, *blocks])]


@pytest.fixture(scope="module")
def models(running: Sandbox) -> dict[str, BaseChatModel]:
    return {name: build(running, model=model, max_tokens=100) for name, (build, model) in MODELS.items()}


EDGES = st.one_of(st.integers(1, 8_000), st.integers(1, 1_600), st.sampled_from([28, 32, 512, 513, 768, 1_568, 2_048]))


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.tuples(EDGES, EDGES), min_size=1, max_size=3),
    detail=st.sampled_from([None, "low", "high", "auto"]),
)
def test_no_less_is_held_for_pictures_than_they_are_billed_at(
    running: Sandbox, models: dict[str, BaseChatModel], name: str, sizes: list[tuple[int, int]], detail: str | None
) -> None:
    pictures = [picture(gif(width, height), "gif", detail) for width, height in sizes]

    held, billed = settled(running, models[name], asked(*pictures))

    assert held <= 6 * billed + 100


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", PICTURES)
def test_a_photograph_is_held_at_about_its_bill(
    running: Sandbox, models: dict[str, BaseChatModel], name: str, kind: str
) -> None:
    raw = PICTURES[kind](1_600, 1_200)

    held, billed = settled(running, models[name], asked(picture(raw, kind.partition("-")[0])))

    assert held <= 2.2 * billed


LOOSE = {"claude": 1.5, "claude-4.7": 1.5, "nova": 2.3, "gpt-4o": 5.7, "gpt-4o-mini": 5.7, "gpt-5": 5.7}
"""By rule: bound over bill of a picture no narrower than 1:4. Of any other rule 1.9."""
KNOWN = {
    name: model for name, model in Catalogue.standard().models.items() if "llama" not in name and "oss" not in name
}


@settings(max_examples=300)
@given(st.sampled_from([*KNOWN]), EDGES, EDGES, st.sampled_from(["", "low", "high"]))
def test_the_bound_of_a_picture_is_at_least_the_bill_and_not_many_times_it(
    name: str, width: int, height: int, detail: Any
) -> None:
    rule = KNOWN[name].images
    shown = Media(kind="image", counted=0, width=width, height=height, detail=detail)

    bound = media_tokens(ModelRef(provider=KNOWN[name].provider, model=name), [shown])
    billed = RULES[rule].tokens(width, height, detail)

    assert billed <= bound
    if max(width, height) <= 4 * min(width, height):
        assert bound <= LOOSE.get(rule, 1.9) * billed + 1


ADDRESS, NO_PICTURE = "https://example.com/a.png", "data:image/png;base64,aGVsbG8="
UNSEEN = [(name, each) for name in BOXES for each in (ADDRESS, NO_PICTURE)]


@pytest.mark.parametrize(
    ("name", "where"), [each for each in UNSEEN if each[1] != ADDRESS or MODELS[each[0]][0] is not bedrock]
)
def test_a_picture_of_unknown_size_is_held_as_a_large_one(box: Sandbox, name: str, where: str) -> None:
    """ChatBedrockConverse takes no addresses."""
    build, model = MODELS[name]

    settled(box, build(box, model=model, max_tokens=100), asked({"type": "image_url", "image_url": {"url": where}}))


PAGE = "The parcel of order 4711 was left with a neighbour on Tuesday. " * 130
"""A dense page: about 1,500 tokens."""


def document(name: str, raw: bytes, *, cited: bool = False) -> dict[str, Any]:
    if MODELS[name][0] is bedrock:
        more = {"citations": {"enabled": True}} if cited else {}
        return {"document": {"format": "pdf", "name": "plan", "source": {"bytes": raw}, **more}}
    encoded = base64.b64encode(raw).decode()
    return {"type": "file", "base64": encoded, "mime_type": "application/pdf", "filename": "plan.pdf"}


@pytest.mark.parametrize("name", BOXES)
@pytest.mark.parametrize("packed", [False, True], ids=["", "packed"])
@pytest.mark.parametrize("pages", [1, 9])
def test_no_less_is_held_for_a_pdf_than_it_is_billed_at(box: Sandbox, name: str, pages: int, packed: bool) -> None:
    build, model = MODELS[name]
    block = document(name, pdf([PAGE] * pages, packed=packed), cited=True)

    held, billed = settled(box, build(box, model=model, max_tokens=100), asked(block))

    assert held <= 3.5 * billed


def test_where_bedrock_reads_only_the_text_of_a_pdf_what_is_held_is_looser(box: Sandbox) -> None:
    """Without citations Converse shows Claude no pages; whether it does is not read off the request."""
    held, billed = settled(box, bedrock(box, max_tokens=100), asked(document("bedrock-claude", pdf([PAGE] * 3))))

    assert held <= 5 * billed


def test_an_office_file_is_held_at_its_text_unpacked(box: Sandbox) -> None:
    raw = docx(PAGE * 20)
    block = {"document": {"format": "docx", "name": "plan", "source": {"bytes": raw}}}

    held, _ = settled(box, bedrock(box, max_tokens=100), asked(block))

    assert held > len(PAGE * 20)


@pytest.mark.parametrize("ms", [400, 61_000])
def test_no_less_is_held_for_a_recording_than_it_is_billed_at(box: Sandbox, ms: int) -> None:
    block = {"type": "input_audio", "input_audio": {"data": base64.b64encode(wav(ms)).decode(), "format": "wav"}}

    held, billed = settled(box, openai(box, max_tokens=100), asked(block))

    assert held <= 4 * billed


@pytest.mark.parametrize("ms", [900, 95_000])
def test_no_less_is_held_for_a_video_than_it_is_billed_at(box: Sandbox, ms: int) -> None:
    block = {"video": {"format": "mp4", "source": {"bytes": mp4(ms)}}}
    model = bedrock(box, model="amazon.nova-pro-v1:0", max_tokens=100)

    held, billed = settled(box, model, asked(block))

    assert held <= 1.2 * billed + 400


@tool
def camera(room: str) -> str:
    """Show a room."""
    return room


@pytest.mark.parametrize("name", BOXES)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.tuples(EDGES, EDGES), min_size=1, max_size=3), text=st.text("ab c.", max_size=200))
def test_no_less_is_held_for_pictures_that_tools_return(
    running: Sandbox, models: dict[str, BaseChatModel], name: str, sizes: list[tuple[int, int]], text: str
) -> None:
    shown = [picture(gif(width, height), "gif") for width, height in sizes]
    called = AIMessage("", tool_calls=[{"name": "camera", "args": {"room": "hall"}, "id": "c1"}])
    result = ToolMessage([{"type": "text", "text": f"Hall: {text}."}, *shown], tool_call_id="c1")

    model: Any = models[name].bind_tools([camera])
    settled(running, model, [HumanMessage("Is the door shut?"), called, result])


@pytest.mark.parametrize("name", BOXES)
def test_a_budget_that_does_not_cover_the_picture_refuses_before_the_call(box: Sandbox, name: str) -> None:
    """Not one call is made for the picture, while the words alone fit."""
    build, model = MODELS[name]
    client = build(box, model=model, max_tokens=50)
    words = governed(client, MemoryStore(), input_tokens=700)
    words.invoke({"messages": asked()})

    store = MemoryStore()
    with pytest.raises(RunStopped) as stopped:
        governed(client, store, input_tokens=700).invoke({"messages": asked(picture(png(1_500, 1_500)))})

    assert 1 == len(box.meter.records)
    assert "700" in str(stopped.value)
    assert 0 == sum(balance.spent + balance.reserved for balance in store.balances())


def test_a_stream_with_a_picture_settles_at_its_bill(box: Sandbox) -> None:
    model: Any = anthropic(box, max_tokens=100)

    def node(state: MessagesState) -> dict[str, Any]:
        chunks = [*model.stream(state["messages"])]
        return {"messages": [sum(chunks[1:], chunks[0])]}

    graph = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    budgets = [{"id": "b", "scope": "run", "limit": {"usd": 10, "input_tokens": "1M"}}]
    store = Watched()
    app: Any = govern(
        graph, {"governor": 1, "name": "p", "tools": {"default": "allow"}, "budgets": budgets}, store=store
    )
    app.invoke({"messages": asked(picture(png(800, 600)))})

    spent = {balance.unit: balance.spent for balance in store.balances()}
    assert box.meter.bill().nano_usd == spent[Unit.NANO_USD] <= store.held[0][Unit.NANO_USD]


def test_a_prompt_with_pictures_teaches_nothing_about_text(box: Sandbox) -> None:
    """A picture that is billed at less than its bound must not make the next text look cheap: what is held for it stays as it was."""
    client = openai(box, model="gpt-4o", max_tokens=50)
    text = [HumanMessage("The parcel was left with a neighbour. " * 100)]
    small = asked(*[picture(gif(100, 100), "gif")] * 20)

    def held(between: int) -> int:
        app = governed(client, store := Watched())
        for messages in (text, text, *[small] * between, text):
            app.invoke({"messages": messages})
        return store.held[-1][Unit.INPUT_TOKENS]

    assert held(0) == held(20)
