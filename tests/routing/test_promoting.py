"""What decides is one whole file, changed by a person with a reason, and what decided before can be had back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governor.errors import RoutingError
from governor.routing.promoting import Promotions
from governor.routing.snapshot import Snapshot, load_snapshot, sealed, write_snapshot


def snapshot(number: int = 1) -> Snapshot:
    return sealed(Snapshot(weak="weak", strong="strong", created_ms=number))


def changed(place: Promotions, number: int | None) -> str:
    who: Any = {"who": "ann", "why": "because", "at_ms": 7}
    return (place.rollback(**who) if number is None else place.promote(snapshot(number), **who)).id


def test_promoted_snapshots_follow_each_other_and_each_rollback_goes_back_one(tmp_path: Path) -> None:
    place = Promotions(tmp_path / "sub" / "routing.json")
    one, two = snapshot(1), snapshot(2)
    assert place.current() is None

    changed(place, 1)
    changed(place, 2)
    assert two == place.current() == load_snapshot(place.named)
    assert one.id == changed(place, None)
    assert one == place.current()
    assert "" == changed(place, None)
    assert place.current() is None
    assert not place.named.exists()
    assert [("promote", ""), ("promote", one.id), ("rollback", two.id), ("rollback", one.id)] == [
        (each.did, each.before) for each in place.audit()
    ]
    assert {("ann", "because", 7)} == {(each.who, each.why, each.at_ms) for each in place.audit()}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(1, 4)), max_size=12))
def test_whatever_is_promoted_and_rolled_back_a_pile_says_what_decides(moves: list[int | None]) -> None:
    from tempfile import TemporaryDirectory

    pile: list[int] = []
    with TemporaryDirectory() as folder:
        place = Promotions(Path(folder) / "routing.json")
        for move in moves:
            if (move is None and not pile) or (pile and move == pile[-1]):
                with pytest.raises(RoutingError):
                    changed(place, move)
            else:
                changed(place, move)
                pile = pile[:-1] if move is None else [*pile, move]
            current = place.current()
            assert (snapshot(pile[-1]).id if pile else None) == (current.id if current else None)


def test_a_snapshot_is_kept_without_deciding_and_found_by_the_beginning_of_its_id(tmp_path: Path) -> None:
    place = Promotions(tmp_path / "routing.json")
    one, two = snapshot(1), snapshot(2)
    place.keep(two)
    file = place.keep(one)

    assert place.current() is None
    assert file == place.find(one.id) == place.find(one.id[7:15]) == place.find(str(file))
    assert [(one.id, False), (two.id, False)] == [(each.snapshot.id, each.promoted) for each in place.kept()]
    changed(place, 2)
    assert [False, True] == [each.promoted for each in place.kept()]
    for wrong in ("sha256:", "0123", ""):
        with pytest.raises(RoutingError, match="governor route list"):
            place.find(wrong)


def test_a_promotion_under_way_keeps_others_out_and_leaves_nothing_behind(tmp_path: Path) -> None:
    place = Promotions(tmp_path / "routing.json")
    changed(place, 1)
    assert sorted(each.name for each in place.folder.iterdir()) == sorted([f"{snapshot(1).id[7:]}.json", "audit.jsonl"])
    (place.folder / "promoting.lock").touch()

    with pytest.raises(RoutingError, match=r"promoting\.lock: another promotion is under way"):
        changed(place, 2)
    assert snapshot(1) == place.current()
    assert 1 == len(place.audit())


def test_what_was_edited_by_hand_does_not_decide(tmp_path: Path) -> None:
    place = Promotions(tmp_path / "routing.json")
    changed(place, 1)
    place.named.write_text(place.named.read_text().replace('"created_ms":1', '"created_ms":2'))

    with pytest.raises(RoutingError, match="the content is not what this id was made of"):
        place.current()


def test_a_damaged_audit_is_named_by_its_line_and_nothing_is_rolled_back(tmp_path: Path) -> None:
    place = Promotions(tmp_path / "routing.json")
    changed(place, 1)
    with (place.folder / "audit.jsonl").open("a") as file:
        file.write("{\n")

    with pytest.raises(RoutingError, match=r"audit\.jsonl:2: is no audit line"):
        changed(place, None)
    assert snapshot(1) == place.current()


def test_a_snapshot_of_other_tiers_does_not_decide(tmp_path: Path) -> None:
    place = Promotions(tmp_path / "routing.json")
    write_snapshot(place.named, snapshot(1))

    assert place.current(tiers=["strong", "weak"]) is not None
    with pytest.raises(RoutingError, match="the policy has no tier weak"):
        place.current(tiers=["strong", "other"])
