"""The prompt cache by itself: what is read, what is written, when it is forgotten."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor_sandbox import CachePlan, Catalogue, Model, PromptCache
from governor_sandbox.cache import LOOK_BACK_BLOCKS
from governor_sandbox.prompt import Block, Prompt, Section, Ttl
from tests.sandbox.clients import HAIKU, NOVA_PRO, SONNET

CLAUDE = Catalogue.standard().models[SONNET]
NOVA = Catalogue.standard().models[NOVA_PRO]
GPT = Catalogue.standard().models["gpt-4o"]


def block(name: str, *, tokens: int = 1000, ttl: Ttl | None = None, section: Section = "messages") -> Block:
    return Block(section=section, tag=name, text="", overhead=tokens, ttl=ttl)


def prompt(*blocks: Block, seam: str = "") -> Prompt:
    return Prompt(blocks=blocks, seam=seam)


def ask(cache: PromptCache, asked: Prompt, *, model: Model = CLAUDE, now: float = 0) -> CachePlan:
    """One request whose response has begun."""
    plan = cache.plan(model, asked, now)
    cache.commit(plan, now)
    return plan


def split(plan: CachePlan) -> tuple[int, int, int, int]:
    return plan.read, plan.written_5m, plan.written_1h, plan.uncached


def test_the_first_request_writes_and_the_second_reads() -> None:
    cache = PromptCache()
    asked = prompt(block("a"), block("b", ttl="5m"), block("c"))

    assert (0, 2000, 0, 1000) == split(ask(cache, asked))
    assert (2000, 0, 0, 1000) == split(ask(cache, asked))


def test_without_a_marker_nothing_is_cached() -> None:
    cache = PromptCache()
    asked = prompt(block("a"), block("b"))

    ask(cache, asked)

    assert (0, 0, 0, 2000) == split(ask(cache, asked))


def test_a_longer_prompt_reads_the_old_prefix_and_writes_the_rest() -> None:
    cache = PromptCache()
    ask(cache, prompt(block("a"), block("b", ttl="5m")))

    assert (2000, 1000, 0, 0) == split(ask(cache, prompt(block("a"), block("b"), block("c", ttl="5m"))))


def test_a_change_early_on_loses_everything_after_it() -> None:
    cache = PromptCache()
    ask(cache, prompt(block("tools"), block("system", ttl="5m"), block("chat", ttl="5m")))

    assert (0, 3000, 0, 0) == split(
        ask(cache, prompt(block("other tools"), block("system", ttl="5m"), block("chat", ttl="5m")))
    )


def test_a_change_late_keeps_the_earlier_breakpoint() -> None:
    cache = PromptCache()
    ask(cache, prompt(block("system", tokens=2000, ttl="5m"), block("chat", ttl="5m")))

    assert (2000, 1000, 0, 0) == split(
        ask(cache, prompt(block("system", tokens=2000, ttl="5m"), block("other", ttl="5m")))
    )


def test_a_prefix_below_the_minimum_is_silently_not_cached() -> None:
    cache = PromptCache()
    small = prompt(block("a", tokens=1023, ttl="5m"))
    enough = prompt(block("b", tokens=1024, ttl="5m"))

    assert (0, 0, 0, 1023) == split(ask(cache, small))
    assert (0, 1024, 0, 0) == split(ask(cache, enough))


def test_the_minimum_is_the_models_own() -> None:
    haiku = Catalogue.standard().models[HAIKU]

    assert (0, 0, 0, 4095) == split(ask(PromptCache(), prompt(block("a", tokens=4095, ttl="5m")), model=haiku))
    assert (0, 4096, 0, 0) == split(ask(PromptCache(), prompt(block("a", tokens=4096, ttl="5m")), model=haiku))


@pytest.mark.parametrize(("ttl", "seconds"), [("5m", 300), ("1h", 3600)])
def test_an_entry_lives_exactly_as_long_as_its_ttl(ttl: Ttl, seconds: float) -> None:
    asked = prompt(block("a", tokens=2000, ttl=ttl))
    cache = PromptCache()
    ask(cache, asked, now=0)

    assert 2000 == cache.plan(CLAUDE, asked, now=seconds - 1).read
    assert 0 == cache.plan(CLAUDE, asked, now=seconds).read


def test_a_hit_refreshes_the_ttl() -> None:
    asked = prompt(block("a", tokens=2000, ttl="5m"))
    cache = PromptCache()
    for now in (0, 299, 598, 897):
        plan = ask(cache, asked, now=now)

    assert 2000 == plan.read


def test_a_hit_on_a_long_prefix_keeps_the_breakpoints_inside_it_alive() -> None:
    cache = PromptCache()
    ask(cache, prompt(block("system", tokens=2000, ttl="5m"), block("chat", ttl="5m")), now=0)
    ask(cache, prompt(block("system", tokens=2000), block("chat", ttl="5m")), now=200)

    assert 2000 == ask(cache, prompt(block("system", tokens=2000, ttl="5m"), block("new chat")), now=400).read


def test_a_marker_finds_entries_up_to_twenty_blocks_back() -> None:
    base = [block(f"b{i}", tokens=100) for i in range(20)]
    marked = [*base[:-1], replace(base[-1], ttl="5m")]

    def grown(added: int) -> int:
        cache = PromptCache()
        ask(cache, prompt(*marked))
        later = [block(f"n{i}", tokens=100) for i in range(added - 1)]
        return ask(cache, prompt(*base, *later, block("end", tokens=100, ttl="5m"))).read

    assert 2000 == grown(LOOK_BACK_BLOCKS - 1)
    assert 0 == grown(LOOK_BACK_BLOCKS)


def test_an_intermediate_marker_saves_what_one_alone_would_miss() -> None:
    base = [block(f"b{i}", tokens=100) for i in range(19)]
    cache = PromptCache()
    ask(cache, prompt(*base, block("mark", tokens=100, ttl="5m")))

    middle = [block(f"n{i}", tokens=100) for i in range(14)]
    late = [block(f"m{i}", tokens=100) for i in range(14)]
    asked = prompt(
        *base,
        block("mark", tokens=100),
        *middle,
        block("m", tokens=100, ttl="5m"),
        *late,
        block("e", tokens=100, ttl="5m"),
    )

    assert 2000 == ask(cache, asked).read


def test_mixed_ttls_are_billed_at_the_positions_of_their_markers() -> None:
    asked = prompt(block("system", tokens=2000, ttl="1h"), block("chat", tokens=500, ttl="5m"), block("tail", tokens=7))

    assert (0, 500, 2000, 7) == split(ask(PromptCache(), asked))


def test_the_long_lived_prefix_outlives_the_short_lived_rest() -> None:
    cache = PromptCache()
    asked = prompt(block("system", tokens=2000, ttl="1h"), block("chat", tokens=500, ttl="5m"))
    ask(cache, asked, now=0)

    assert (2000, 500, 0, 0) == split(ask(cache, asked, now=301))


def test_an_entry_belongs_to_the_model_it_was_written_with() -> None:
    cache = PromptCache()
    asked = prompt(block("a", tokens=5000, ttl="5m"))
    ask(cache, asked)

    assert 0 == ask(cache, asked, model=Catalogue.standard().models[HAIKU]).read


def test_a_new_tool_choice_loses_the_messages_but_not_the_system_prompt() -> None:
    cache = PromptCache()
    system = block("system", tokens=2000, ttl="5m", section="system")
    ask(cache, prompt(system, block("chat", ttl="5m"), seam="auto"))

    assert (2000, 1000, 0, 0) == split(ask(cache, prompt(system, block("chat", ttl="5m"), seam="any")))


def test_requests_in_flight_together_all_pay() -> None:
    cache = PromptCache()
    asked = prompt(block("a", tokens=2000, ttl="5m"))

    first, second = cache.plan(CLAUDE, asked, 0), cache.plan(CLAUDE, asked, 0)
    cache.commit(first, 0)

    assert (0, 0) == (first.read, second.read)
    assert 2000 == cache.plan(CLAUDE, asked, 0).read


def test_a_failed_request_leaves_nothing_behind() -> None:
    cache = PromptCache()
    asked = prompt(block("a", tokens=2000, ttl="5m"))
    cache.plan(CLAUDE, asked, 0)

    assert 0 == cache.plan(CLAUDE, asked, 0).read


def test_nova_does_not_look_back() -> None:
    cache = PromptCache()
    ask(cache, prompt(block("a", tokens=2000, ttl="5m")), model=NOVA)

    assert 0 == ask(cache, prompt(block("a", tokens=2000), block("b", ttl="5m")), model=NOVA).read
    assert 2000 == ask(cache, prompt(block("a", tokens=2000, ttl="5m"), block("c", ttl="5m")), model=NOVA).read


def test_nova_caches_at_most_twenty_thousand_tokens() -> None:
    cache = PromptCache()
    asked = prompt(block("a", tokens=30_000, ttl="5m"))

    assert (0, 20_000, 0, 10_000) == split(ask(cache, asked, model=NOVA))
    assert (20_000, 0, 0, 10_000) == split(ask(cache, asked, model=NOVA))


def words(n: int, word: str = " abc") -> Block:
    return Block(section="messages", tag="user", text=word * n)


def test_automatic_caching_needs_no_marker_and_counts_in_steps() -> None:
    cache = PromptCache()
    asked = prompt(words(1400))

    assert (0, 0, 0, 1400) == split(ask(cache, asked, model=GPT))
    assert (1280, 0, 0, 120) == split(ask(cache, asked, model=GPT))


def test_automatic_caching_starts_at_its_minimum() -> None:
    cache = PromptCache()
    ask(cache, prompt(words(1023)), model=GPT)

    assert 0 == ask(cache, prompt(words(1023)), model=GPT).read
    ask(cache, prompt(words(1024)), model=GPT)
    assert 1024 == ask(cache, prompt(words(1024)), model=GPT).read


def test_automatic_caching_reads_up_to_where_the_texts_part() -> None:
    cache = PromptCache()
    ask(cache, prompt(words(1500), words(500, " xyz")), model=GPT)

    assert 1408 == ask(cache, prompt(words(1500), words(500, " pqr")), model=GPT).read


def test_automatic_entries_fade_after_five_idle_minutes() -> None:
    cache = PromptCache()
    ask(cache, prompt(words(1400)), model=GPT, now=0)

    assert 1280 == cache.plan(GPT, prompt(words(1400)), now=299).read
    assert 0 == cache.plan(GPT, prompt(words(1400)), now=300).read


# --- properties --------------------------------------------------------------------------------------------------------

TTLS = st.sampled_from([None, None, "5m", "1h"])
BLOCKS = st.lists(
    st.builds(block, st.sampled_from("abcdefgh"), tokens=st.integers(1, 3000), ttl=TTLS), min_size=1, max_size=40
)
MODELS = st.sampled_from([CLAUDE, NOVA, GPT, Catalogue.standard().models["meta.llama3-3-70b-instruct-v1:0"]])


@given(st.lists(st.tuples(BLOCKS, MODELS, st.integers(0, 400)), max_size=8))
def test_every_token_is_billed_exactly_once(requests: list[tuple[list[Block], Model, int]]) -> None:
    cache, now = PromptCache(), 0
    for blocks, model, later in requests:
        now += later
        plan = ask(cache, prompt(*blocks), model=model, now=now)

        assert prompt(*blocks).tokens == plan.total
        assert min(split(plan)) >= 0


@given(BLOCKS, st.lists(st.builds(block, st.sampled_from("xyz"), tokens=st.integers(1, 500)), min_size=1, max_size=18))
def test_an_extension_reads_at_least_the_previous_breakpoint(base: list[Block], added: list[Block]) -> None:
    base[-1] = replace(base[-1], ttl="5m", overhead=base[-1].overhead + 1024)
    cache = PromptCache()
    ask(cache, prompt(*base))

    plan = ask(cache, prompt(*base, *added[:-1], replace(added[-1], ttl="5m")))

    assert plan.read >= prompt(*base).tokens


@given(BLOCKS, MODELS)
def test_the_same_request_again_never_costs_more_and_writes_nothing(blocks: list[Block], model: Model) -> None:
    cache = PromptCache()
    first = ask(cache, prompt(*blocks), model=model)
    second = ask(cache, prompt(*blocks), model=model)

    assert (0, 0) == (second.written_5m, second.written_1h)
    assert second.uncached <= first.uncached
    if model.cache in ("claude", "nova"):
        assert first.written_5m + first.written_1h == second.read


@given(BLOCKS, st.integers(0, 39), st.integers(1, 39))
def test_what_is_read_is_a_prefix_that_was_sent_before(blocks: list[Block], cut: int, ttl_at: int) -> None:
    """Reading reaches at most to where the two prompts part."""
    cache = PromptCache()
    cut %= len(blocks)
    other = [*blocks[:cut], block("different", tokens=50), *blocks[cut + 1 :]]
    other[ttl_at % len(other)] = replace(other[ttl_at % len(other)], ttl="5m")
    ask(cache, prompt(*blocks))

    assert ask(cache, prompt(*other)).read <= prompt(*blocks[:cut]).tokens


@given(st.integers(0, 3000), st.integers(0, 3000), st.integers(0, 3000))
def test_automatic_reads_are_whole_steps_of_the_common_prefix(shared: int, mine: int, yours: int) -> None:
    cache = PromptCache()
    ask(cache, prompt(words(shared), words(mine, " one")), model=GPT)
    read = ask(cache, prompt(words(shared), words(yours, " two")), model=GPT).read

    expected = shared - shared % 128 if shared >= 1024 else 0
    assert expected == read
