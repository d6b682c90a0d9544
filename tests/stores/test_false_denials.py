"""What fits is granted and nothing else is, in a long random walk. A million operations of it: `make soak`."""

import os
from pathlib import Path

import pytest

from governor.stores.memory import MemoryStore
from governor.stores.sqlite import SqliteStore
from tests.soak.ledgers import Walk
from tests.stores.mutants import MUTANTS

OPERATIONS = int(os.environ.get("OPERATIONS", "4000"))


def test_the_memory_store_refuses_nothing_that_fits() -> None:
    tally = Walk(MemoryStore(), seed=1).run(OPERATIONS)

    assert (0, 0) == (tally.denied, tally.admitted)
    assert tally.did["granted"] > OPERATIONS // 10
    assert tally.did["refused"] > OPERATIONS // 10


def test_the_sqlite_store_refuses_nothing_that_fits(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "governor.db")
    tally = Walk(store, seed=2).run(OPERATIONS // 2)
    store.close()

    assert (0, 0) == (tally.denied, tally.admitted)


@pytest.mark.parametrize(
    ("wrong", "denies"),
    [
        ("a ledger is never quite filled", True),
        ("what waited too long stays reserved", True),
        ("what is reserved is counted twice", True),
        ("the limit is one higher", False),
        ("earlier slices do not count", False),
    ],
)
def test_a_store_that_is_wrong_by_a_little_is_found_out(wrong: str, denies: bool) -> None:
    (mutant,) = [each for each in MUTANTS if each.wrong == wrong]

    tally = Walk(mutant.store(), seed=1).run(4_000)

    assert (tally.denied if denies else tally.admitted) > 0
