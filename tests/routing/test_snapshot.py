"""Snapshots: read as written, the same bytes for the same content, refused as a whole when anything does not fit."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.errors import RoutingError
from governor.routing.guard import Promise
from governor.routing.reading import canonical
from governor.routing.snapshot import ANY_NODE, Snapshot, dump_snapshot, load_snapshot, parse_snapshot, write_snapshot
from governor.routing.training import train
from tests.routing.pairs import outcomes


@functools.cache
def made() -> Snapshot:
    return train(
        outcomes(600),
        weak="student",
        strong="frontier",
        created_ms=1_700_000_000_000,
        parent="sha256:before",
        promise=Promise(max_loss=0.1),
    )


def changed(path: str, value: Any) -> str:
    """The snapshot's text with another value at a place, and an id that fits."""
    values = json.loads(dump_snapshot(made()))
    *outer, name = path.split(".")
    place = values
    for each in outer:
        place = place[int(each)] if each.isdigit() else place[each]
    place[name] = value
    del values["id"]
    values["id"] = f"sha256:{hashlib.sha256(canonical(values).encode()).hexdigest()}"
    return canonical(values)


def test_a_snapshot_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    written = write_snapshot(path, made())
    back = load_snapshot(path, tiers=("frontier", "student"))

    assert made().id == written == back.id
    assert dump_snapshot(made()) == path.read_text()
    assert made() == back
    assert made().id == parse_snapshot(dump_snapshot(back)).id


def test_a_snapshot_holds_no_text_of_a_prompt() -> None:
    text = dump_snapshot(made())

    assert not [word for word in ("theorem", "weather", "please") if word in text]


def test_sections_of_other_estimators_are_kept_as_they_are() -> None:
    with_encoder = dataclasses.replace(made(), encoder={"dim": 384, "clusters": [{"n": 1, "gain": 0}]})

    assert with_encoder.encoder == parse_snapshot(dump_snapshot(with_encoder)).encoder


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("governor_routing", 2, "governor_routing"),
        ("features.version", 99, "features.version"),
        ("features.hash", "md5", "features.hash"),
        ("features.buckets", 1024, "features.buckets"),
        ("pair", ["student", "student"], "pair"),
        ("pair", ["student"], "pair"),
        ("hashed.weights", "AAAA", "hashed.weights"),
        ("hashed.unit", 0, "hashed.unit"),
        ("hashed.calibration.slope", -1, "hashed.calibration.slope"),
        ("table.0.n", 7, "table.0.n"),
        ("table.0.gain", 0.5, "table.0.gain"),
        ("guard.0.key", ["planner"], "guard.0.key"),
        ("guard.0.regrets", 10**6, "guard.0.key"),
        ("quantiles", [3, 1], "quantiles"),
        ("evaluation.apgr", "good", "evaluation.apgr"),
        ("trained.records", -1, "trained.records"),
        ("surprise", 1, "surprise"),
        ("table.0.surprise", 1, "table.0.surprise"),
    ],
)
def test_what_does_not_fit_is_refused_with_file_field_and_remedy(
    tmp_path: Path, path: str, value: Any, field: str
) -> None:
    file = tmp_path / "snapshot.json"
    file.write_text(changed(path, value))
    with pytest.raises(RoutingError) as caught:
        load_snapshot(file)

    assert (str(file), field) == (caught.value.file, caught.value.field)
    assert caught.value.remedy


def test_tiers_that_the_policy_does_not_name_are_refused() -> None:
    with pytest.raises(RoutingError) as caught:
        parse_snapshot(dump_snapshot(made()), tiers=("frontier", "commodity"))

    assert "pair" == caught.value.field
    assert "student" in caught.value.message


def test_an_edited_snapshot_is_refused() -> None:
    values = json.loads(dump_snapshot(made()))
    values["threshold"] = 1_000_000
    with pytest.raises(RoutingError) as caught:
        parse_snapshot(json.dumps(values))

    assert "id" == caught.value.field


@pytest.mark.parametrize("text", ["", "[]", "null", '{"governor_routing": 1, "id": "a", "x": 1e999}'])
def test_a_file_that_holds_no_snapshot_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "snapshot.json"
    file.write_text(text)
    for path in (file, tmp_path / "absent.json"):
        with pytest.raises(RoutingError) as caught:
            load_snapshot(path)

        assert str(path) == caught.value.file


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_for_the_better_tier_never_raises_the_cut(share: float, other: float) -> None:
    cuts = [made().cut(each) for each in sorted((share, other))]
    assert cuts[0] is not None
    assert cuts[1] is not None

    assert cuts[0] >= cuts[1]
    assert made().quantiles[0] <= 1_000_000 * cuts[1] + 1
    assert made().quantiles[-1] >= 1_000_000 * cuts[0] - 1


def test_without_quantiles_there_is_no_cut() -> None:
    assert Snapshot(weak="student", strong="frontier").cut(0.2) is None
    assert 0.0 == Snapshot(weak="student", strong="frontier").accuracy


def test_the_guards_counts_are_found_by_node_and_add_up() -> None:
    whole, planner, writer = (made().guarded(path) for path in (ANY_NODE, "planner", "writer"))
    assert whole
    assert planner
    assert writer

    assert (whole.n, whole.sent, whole.regrets) == (
        planner.n + writer.n,
        planner.sent + writer.sent,
        planner.regrets + writer.regrets,
    )
    assert made().trained.calibration == whole.n
    assert made().guarded("judge") is None
