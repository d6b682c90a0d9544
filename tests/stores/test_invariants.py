"""Any order of requests, ends, repetitions, operators' changes and time leaves every store where a plain model says it should be.

Invariants held after every step: spent + reserved stays within the limit but for recorded debt, over every rolling window too (I1, I7);
reserved is the sum of live leases and spent that of settled and forfeited ones (I2, I13); one lease per id whatever is repeated (I4);
nothing stays reserved past its ttl (I5); what was released was never charged (I6); what fits is never refused (I9).
"""

import tempfile
from itertools import count
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from governor.stores.memory import MemoryStore
from governor.stores.sqlite import SqliteStore
from tests.stores.machine import machine
from tests.stores.mutants import MUTANTS, Mutant


def test_the_memory_store_follows_the_model() -> None:
    run_state_machine_as_test(machine(MemoryStore), settings=settings(stateful_step_count=40))


def test_the_sqlite_store_follows_the_model() -> None:
    with tempfile.TemporaryDirectory() as folder:
        numbers = count()
        run_state_machine_as_test(
            machine(lambda: SqliteStore(Path(folder) / f"{next(numbers)}.db")),
            settings=settings(stateful_step_count=30, max_examples=settings().max_examples // 2),
        )


def test_a_store_made_from_unchanged_sources_follows_the_model() -> None:
    """Else the mutants below would be found for the way they are made."""
    unchanged = Mutant("nothing", "counters", "", "")
    run_state_machine_as_test(machine(unchanged.store), settings=settings(stateful_step_count=40, max_examples=20))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.wrong)
def test_a_spoilt_store_is_found_out(mutant: Mutant) -> None:
    mutant.store()  # that its place in the sources is still there is no finding of the machine's
    with pytest.raises((AssertionError, KeyError)):
        run_state_machine_as_test(
            machine(mutant.store, only=mutant.only),
            settings=settings(
                stateful_step_count=50,
                max_examples=4_000,
                report_multiple_bugs=False,
                database=None,
                derandomize=True,
                phases=[Phase.generate],
            ),
        )
