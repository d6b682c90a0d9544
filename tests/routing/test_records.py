"""Records of paired outcomes: they are read as they were written, and what is wrong is named with its place."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.errors import RoutingError
from governor.routing.estimate import StepFeatures
from governor.routing.records import (
    PairedOutcome,
    Side,
    dump_record,
    latest,
    parse_record,
    read_records,
    write_records,
)

names = st.text(min_size=1, max_size=8)
counts = st.integers(0, 10**9)
steps = st.builds(
    StepFeatures,
    node=names,
    path=names,
    delta=st.text(max_size=30),
    outcome=st.sampled_from(["", "tool_error", "empty"]),
    errors=counts,
    repeats=counts,
    step=counts,
    pending_tool=st.text(max_size=5),
    structured=st.booleans(),
    prefix_tokens=counts,
    delta_tokens=counts,
)
scores = st.floats(0, 1)
records = st.builds(
    PairedOutcome,
    id=names,
    step=steps,
    strong=st.builds(Side, tier=st.just("frontier"), score=scores, cost=st.none() | counts, answer=st.text(max_size=5)),
    weak=st.builds(Side, tier=st.just("student"), score=scores, cost=st.none() | counts, answer=st.text(max_size=5)),
    source=st.sampled_from(["gate", "judge", "user", "reward", "evaluator", "replay"]),
    at_ms=counts,
    propensity=st.floats(0.001, 1),
    sent=st.sampled_from(["", "student", "frontier"]),
    run=st.text(max_size=3),
)
RECORD = PairedOutcome(
    id="run-1/7",
    step=StepFeatures(node="planner", path="graph/planner", delta="What now?"),
    strong=Side(tier="frontier", score=1.0, cost=5_000_000),
    weak=Side(tier="student", score=0.0, cost=100_000),
    source="gate",
    at_ms=1_000,
)


@given(records)
def test_a_record_is_read_as_it_was_written(record: PairedOutcome) -> None:
    line = dump_record(record)

    assert record == parse_record(line)
    assert "\n" not in line


@given(st.lists(records, max_size=5))
def test_a_file_holds_the_records_in_their_order(tmp_path_factory: pytest.TempPathFactory, many: Any) -> None:
    for name in ("outcomes.jsonl", "outcomes.jsonl.gz"):
        path = tmp_path_factory.mktemp("records") / name

        assert len(many) == write_records(path, many)
        assert many == list(read_records(path))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("source", "guess"),
        ("id", ""),
        ("propensity", 0),
        ("propensity", 1.5),
        ("at_ms", -1),
        ("at_ms", True),
        ("strong.score", 1.1),
        ("strong.score", "1"),
        ("weak.cost", 0.5),
        ("weak.cost", -1),
        ("weak.tier", None),
        ("weak.tier", "frontier"),
        ("weak.scores", 1),
        ("step.node", None),
        ("step.structured", "yes"),
        ("step.mood", "bad"),
        ("governor_record", 2),
        ("step", []),
    ],
)
def test_what_is_wrong_is_named_with_file_line_field_and_remedy(tmp_path: Path, field: str, value: Any) -> None:
    values = json.loads(dump_record(RECORD))
    *outer, name = field.split(".")
    place = values[outer[0]] if outer else values
    place[name] = value
    path = tmp_path / "outcomes.jsonl"
    path.write_text(f"{dump_record(RECORD)}\n{json.dumps(values)}\n")

    with pytest.raises(RoutingError) as caught:
        list(read_records(path))

    assert (str(path), 2, field) == (caught.value.file, caught.value.line, caught.value.field)
    assert caught.value.remedy


@pytest.mark.parametrize(
    "line",
    ["{", "[]", '{"governor_record": NaN}', '{"governor_record": 1e999}', "[" * 100_000],
    ids=["cut off", "list", "NaN", "infinity", "deep"],
)
def test_a_line_that_is_no_record_is_refused(line: str) -> None:
    with pytest.raises(RoutingError) as caught:
        parse_record(line, file="outcomes.jsonl", line=3)

    assert ("outcomes.jsonl", 3) == (caught.value.file, caught.value.line)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "cut.jsonl.gz"
    write_records(broken, [RECORD])
    broken.write_bytes(broken.read_bytes()[:-12])
    garbled = tmp_path / "garbled.jsonl.gz"
    write_records(garbled, [RECORD])
    data = bytearray(garbled.read_bytes())
    data[12] ^= 0xFF
    garbled.write_bytes(data)
    for path in (tmp_path / "absent.jsonl", broken, garbled):
        with pytest.raises(RoutingError) as caught:
            list(read_records(path))

        assert str(path) == caught.value.file


def test_the_last_label_of_a_step_counts() -> None:
    later = dataclasses.replace(RECORD, at_ms=2_000, source="user")
    other = dataclasses.replace(RECORD, id="run-0/1")

    assert [other, later] == latest([later, RECORD, other])
