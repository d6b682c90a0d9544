"""The benchmark of placements does what it says: its simulator against sums by hand, and the control driven over made-up runs."""

import gzip
import json
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.routing_replay.corpus import FILE, Run, Step, read
from tests.bench.routing_replay.ours import drive, policy_of, route_of
from tests.bench.routing_replay.placements import PLACEMENTS, blocks
from tests.bench.routing_replay.simulator import FRONTIER, LIFETIME_S, STUDENTS, replay

STUDENT = STUDENTS["~1/28"]


def step(prompt: int, output: int, at_s: int, **fields: bool) -> Step:
    return Step(prompt=prompt, output=output, at_s=at_s, **{"failed": False, "malformed": False, **fields})


def run(*steps: Step) -> Run:
    return Run(id="r", steps=steps)


def test_a_warm_step_reads_what_was_sent_before_and_writes_the_rest() -> None:
    two = run(step(1_000, 100, 0), step(1_500, 50, 4))

    assert replay(two, (True, True), FRONTIER).cost == pytest.approx(
        (1_000 * 6.25 + 100 * 25 + 1_000 * 0.5 + 500 * 6.25 + 50 * 25) / 1e6
    )
    assert replay(two, (True, True), FRONTIER, cached=False).cost == pytest.approx((2_500 * 5 + 150 * 25) / 1e6)


def test_a_switch_writes_the_whole_prompt_and_a_return_reads_what_is_still_there() -> None:
    three = run(step(1_000, 0, 0), step(1_200, 0, 4), step(1_500, 0, 8))
    outcome = replay(three, (False, True, False), STUDENT)

    assert (2, 1) == (outcome.switches, outcome.frontier)
    assert outcome.cost == pytest.approx((1_000 * 0.252 + 1_200 * 6.25 + 1_000 * 0.0252 + 500 * 0.252) / 1e6)


def test_what_has_expired_is_written_again() -> None:
    late = run(step(1_000, 0, 0), step(1_000, 0, LIFETIME_S + 1))

    assert replay(late, (True, True), FRONTIER).cost == pytest.approx(2_000 * 6.25 / 1e6)


def test_a_hand_off_shortens_what_the_frontier_reads() -> None:
    three = run(step(10_000, 0, 0), step(10_500, 0, 4), step(11_000, 0, 8))

    assert replay(three, (False, True, True), STUDENT, handoff=4_000).cost == pytest.approx(
        (10_000 * 0.252 + 4_500 * 6.25 + 4_500 * 0.5 + 500 * 6.25) / 1e6
    )


_STEPS = st.builds(
    step, st.integers(1, 60_000), st.integers(0, 900), st.just(0), failed=st.booleans(), malformed=st.booleans()
)


@st.composite
def runs(draw: st.DrawFn) -> Run:
    made, at, prompt = list[Step](), 0, 1_000
    for each in draw(st.lists(_STEPS, min_size=1, max_size=25)):
        at, prompt = at + draw(st.integers(1, 400)), prompt + each.prompt // 10
        made.append(step(prompt, each.output, at, failed=each.failed, malformed=each.malformed))
    return Run(id=f"run-{draw(st.integers(0, 9))}", steps=tuple(made))


@given(runs(), st.sampled_from([None, 3, 8]), st.floats(0.05, 0.95), st.integers(0, 9))
def test_no_switch_happens_in_a_turn_without_a_gate_or_the_end_of_a_block(
    one: Run, block: int | None, share: float, seed: int
) -> None:
    driven = drive(route_of(policy_of(STUDENT, share=0.2, block=block), seed, share), one)

    assert 0 == driven.in_turn
    assert len(one.steps) == len(driven.up)
    if block is None:
        assert 0 == driven.edges


@given(st.lists(runs(), min_size=1, max_size=4), st.sampled_from(sorted(PLACEMENTS)), st.integers(0, 9))
def test_a_placement_gives_every_step_a_model(several: list[Run], name: str, seed: int) -> None:
    placed = PLACEMENTS[name](several, 0.2, Random(seed))

    assert [len(each.steps) for each in several] == [len(up) for up in placed]
    assert any(any(up) for up in placed)


@given(runs(), st.integers(1, 8), st.integers(0, 9))
def test_blocks_are_as_long_as_they_are_said_to_be(one: Run, size: int, seed: int) -> None:
    (up,) = blocks(size)([one], 0.2, Random(seed))
    starts = range(0, len(up), size)

    assert all(len(set(up[start : start + size])) == 1 for start in starts)


def test_the_corpus_is_read_by_run_and_step_and_named_where_it_is_missing(tmp_path: Path) -> None:
    rows = [
        {
            "run": name,
            "step": number,
            "prompt_tokens": 10 + number,
            "completion_tokens": 1,
            "created": number,
            "returncode": code,
            "format_error": code is None,
            "cmd": "ls",
        }
        for name, number, code in (("b", 1, 0), ("b", 0, 1), ("a", 0, None))
    ]
    with gzip.open(tmp_path / FILE, "wt") as file:
        file.write("\n".join(map(json.dumps, rows)))

    first, second = read(tmp_path)

    assert ("a", "b", [10, 11]) == (first.id, second.id, [each.prompt for each in second.steps])
    assert (True, [True, False]) == (first.steps[0].malformed, [each.failed for each in second.steps])
    with pytest.raises(SystemExit, match="no recorded steps"):
        read(tmp_path / "elsewhere")
