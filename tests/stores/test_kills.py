"""Workers killed with SIGKILL, at named points and at any moment, on SQLite and on a real Redis.

Whatever they died of: the ledgers never say less than what the provider billed, and nothing stays reserved once the leases of the dead
are over. A fixed sample in `make test`; `make soak` (KILLS=200) takes more, and prints what came of it.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from governor.stores.contract import Store
from tests.redis_server import private
from tests.stores.killing import AT_ONCE, LEVELS, WAITING, WORST, Job, cost, started
from tests.stores.places import lacking, opened
from tests.stores.reckoning import Reckoning, crew, reckoned

KILLS = int(os.environ.get("KILLS", "10"))
TTL_MS = 1_500
HOUR_MS = 3_600_000


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A store's address, empty."""
    if request.param == "sqlite":
        yield f"sqlite:{tmp_path / 'governor.db'}"
        return
    reason = lacking("redis")
    if reason:
        pytest.skip(reason)
    folder = tmp_path / "redis"
    folder.mkdir()
    with private(folder) as server:
        yield server.url


@pytest.fixture
def store(place: str) -> Iterator[Store]:
    opened_here = opened(place)
    yield opened_here
    opened_here.close()


def job(place: str, folder: Path, **what: object) -> Job:
    """A served store has a clock of its own, so that its leases are short and are waited for."""
    made = Job(store=place, folder=folder, name="w", calls=3, ttl_ms=TTL_MS if place.startswith("redis") else 600_000)
    return replace(made, **what)


Told = Callable[[str, object], None]


def tell(record_property: Told, title: str, found: Reckoning) -> None:
    """For who reads the summary; see `tests/conftest.py`."""
    level, left = (max(each.values(), default=0) for each in (found.spent, found.reserved))
    record_property(
        "figures",
        f"{title}: {found.calls} calls, {found.crashes.total()} crashes; ledger / true {level / max(1, found.true):.4f}, over-charged"
        f" {found.overcharge:.2%}; reserved after ttl and sweep {left} nano-USD, swept in {found.swept_s:.1f} s",
    )


def later() -> int:
    return time.time_ns() // 1_000_000 + HOUR_MS


DIED_AT_ONCE = {
    "before reserve": (0, 0),
    "reserved": (0, WORST),
    "sent": (1, WORST),
    "answered": (1, WORST),
    "settled": (1, None),
}
"""Point: (calls of the victim that were billed, what it is charged; None: what it cost)."""
DIED_WAITING = DIED_AT_ONCE | {"waiting": (0, 0), "dispatched": (0, WORST)}


@pytest.mark.parametrize("point", AT_ONCE)
def test_a_worker_that_dies_in_a_call_is_charged_its_worst_case_from_dispatch_to_settlement(
    point: str, place: str, store: Store, tmp_path: Path
) -> None:
    process = started(job(place, tmp_path, die_at=(point, 3), waiting=False))
    process.join(60)

    found = reckoned(store, tmp_path, later(), patience_s=TTL_MS / 500)

    assert -signal.SIGKILL == process.exitcode
    billed, charged = DIED_AT_ONCE[point]
    whole = cost("w-1") + cost("w-2")
    assert (2 + billed, whole + billed * cost("w-3")) == (found.calls, found.true)
    assert dict.fromkeys(LEVELS, whole + (cost("w-3") if charged is None else charged)) == found.spent
    assert dict.fromkeys(LEVELS, 0) == found.reserved
    assert ({"w-3"} if charged == WORST else set()) == found.forfeits


@pytest.mark.parametrize("point", WAITING)
def test_a_lease_that_waits_costs_nothing_until_it_is_dispatched(
    point: str, place: str, store: Store, tmp_path: Path
) -> None:
    process = started(job(place, tmp_path, die_at=(point, 3), waiting=True))
    process.join(60)

    found = reckoned(store, tmp_path, later(), patience_s=TTL_MS / 500)

    assert -signal.SIGKILL == process.exitcode
    billed, charged = DIED_WAITING[point]
    whole = cost("w-1") + cost("w-2")
    assert 2 + billed == found.calls
    assert dict.fromkeys(LEVELS, whole + (cost("w-3") if charged is None else charged)) == found.spent
    assert dict.fromkeys(LEVELS, 0) == found.reserved
    assert ({"w-3"} if charged == WORST else set()) == found.forfeits


def test_workers_killed_at_any_moment_leave_ledgers_that_cover_the_bill_and_hold_nothing(
    place: str, store: Store, tmp_path: Path, record_property: Told
) -> None:
    killed = crew(job(place, tmp_path, calls=1_000_000), 4, kills=KILLS)

    found = reckoned(store, tmp_path, later(), patience_s=TTL_MS / 500)
    tell(record_property, f"{place.partition(':')[0]}, {killed} workers killed from outside at any moment", found)

    assert KILLS <= killed <= KILLS + 3
    assert found.calls > KILLS
    assert [] == [level for level in LEVELS if not found.true <= found.spent[level] <= found.true + WORST * killed]
    assert 1 == len(set(found.spent.values()))
    assert dict.fromkeys(LEVELS, 0) == found.reserved
    assert set() == found.never_dispatched


def test_at_a_crash_rate_of_two_percent_less_than_two_percent_is_charged_that_nobody_billed(
    place: str, store: Store, tmp_path: Path, record_property: Told
) -> None:
    crew(job(place, tmp_path, calls=25 * KILLS, crash_permille=20), 4)

    found = reckoned(store, tmp_path, later(), patience_s=TTL_MS / 500)
    tell(record_property, f"{place.partition(':')[0]}, 2% of calls kill their worker", found)

    assert 0 < found.crashes.total() < 0.04 * 100 * KILLS
    assert 0 <= found.overcharge <= 0.02
    assert dict.fromkeys(LEVELS, 0) == found.reserved
    assert set() == found.never_dispatched
