"""The ideal cache beside the real one: what could have been read, whoever placed the markers."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from governor_sandbox import CachePlan, Catalogue, Model, PromptCache, Sandbox
from governor_sandbox.prompt import Block, Prompt, Section, Ttl
from tests.sandbox.clients import NOVA_PRO, SONNET, anthropic

CLAUDE = Catalogue.standard().models[SONNET]
NOVA = Catalogue.standard().models[NOVA_PRO]


def block(name: str, *, tokens: int = 1000, ttl: Ttl | None = None, section: Section = "messages") -> Block:
    return Block(section=section, tag=name, text="", overhead=tokens, ttl=ttl)


def ask(cache: PromptCache, *blocks: Block, model: Model = CLAUDE, now: float = 0) -> CachePlan:
    plan = cache.plan(model, Prompt(blocks=blocks), now)
    cache.commit(plan, now)
    return plan


def test_what_nobody_marked_could_have_been_read_all_the_same() -> None:
    cache = PromptCache()
    first = ask(cache, block("a"), block("b"))
    second = ask(cache, block("a"), block("b"), block("c"))

    assert [0, 2000] == [first.ideal, second.ideal]
    assert [0, 0] == [first.read, second.read]


def test_nothing_can_be_read_below_the_minimum_of_another_model_or_when_it_is_too_late() -> None:
    cache = PromptCache()
    other = replace(CLAUDE, id="another")
    ask(cache, block("a", tokens=500), block("b"))

    assert 0 == ask(cache, block("a", tokens=500), block("x")).ideal
    assert 0 == ask(cache, block("a", tokens=500), block("b"), model=other).ideal
    assert 1500 == ask(cache, block("a", tokens=500), block("b"), now=299).ideal
    assert 0 == ask(cache, block("a", tokens=500), block("b"), now=600).ideal


def test_an_hour_is_kept_for_who_asks_for_it() -> None:
    cache = PromptCache()
    ask(cache, block("a", ttl="1h"), block("b"))

    assert 2000 == ask(cache, block("a"), block("b"), now=3599).ideal


def test_nova_takes_no_marker_in_a_turn_with_tools_and_has_a_cap() -> None:
    cache = PromptCache()
    talk = [
        block("text", section="system", tokens=800),
        block("user", tokens=900),
        block("assistant/use/1", tokens=10),
        block("user/result/1", tokens=5000),
        block("user", tokens=10),
    ]
    ask(cache, *talk, model=NOVA)

    assert 1700 == ask(cache, *talk, model=NOVA).ideal
    ask(cache, *talk[:1], block("user", tokens=30_000), model=NOVA)
    assert 20_000 == ask(cache, *talk[:1], block("user", tokens=30_000), model=NOVA).ideal


def test_requests_in_flight_together_could_not_have_read_from_each_other() -> None:
    cache = PromptCache()
    asked = Prompt(blocks=(block("a"), block("b")))
    plans = [cache.plan(CLAUDE, asked, 0) for _ in range(2)]

    assert [0, 0] == [plan.ideal for plan in plans]


names = st.lists(
    st.builds(block, st.sampled_from("abc"), tokens=st.integers(1, 1500), ttl=st.sampled_from([None, "5m"])),
    min_size=1,
    max_size=8,
)


@given(st.lists(names, min_size=1, max_size=6))
def test_no_marker_reads_more_than_the_ideal_cache(prompts: list[list[Block]]) -> None:
    cache = PromptCache()

    for blocks in prompts:
        plan = ask(cache, *blocks)
        assert plan.read <= plan.ideal <= plan.total


def test_the_bill_says_what_could_have_been_read_and_what_was(box: Sandbox) -> None:
    model = anthropic(box)
    for _ in range(2):
        model.invoke("word " * 3000)

    bill = box.meter.bill()
    assert (0, bill.usage.input // 2) == (bill.read_of_ideal_tokens, bill.ideal_tokens)
    assert bill.ideal_tokens == bill.as_json()["ideal_tokens"]
