"""The SQLite store keeps the contract, survives its process, and says what is wrong with a file it cannot use."""

import json
import multiprocessing
import os
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from governor.errors import StoreError
from governor.ledger import Adjustment, AdjustmentKind, Charge, Lease, LeaseState, ReserveRequest
from governor.runs import RunState
from governor.stores.contract import Store
from governor.stores.ledgers import KEEP_MS
from governor.stores.sqlite import SqliteStore
from governor.testing import START_MS, StoreConformance, hold, spent_and_reserved
from governor.testing.stores import FULL_STATE


class TestSqliteStore(StoreConformance):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.store = SqliteStore(tmp_path / "governor.db")

    def setup_method(self) -> None:
        """The fixture above makes the store: it knows the folder."""

    def make_store(self) -> Store:
        raise NotImplementedError


class TestDurableSqliteStore(TestSqliteStore):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.store = SqliteStore(tmp_path / "governor.db", durable=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "governor.db"


def request(lease: str, *, amount: int = 10, now_ms: int = START_MS, expires_ms: int | None = None) -> ReserveRequest:
    return ReserveRequest(id=lease, holds=(hold(amount=amount, expires_ms=expires_ms),), ttl_ms=1_000, now_ms=now_ms)


def test_nothing_is_touched_before_the_first_call(path: Path) -> None:
    SqliteStore(path).close()

    assert not path.exists()


def test_everything_is_there_for_the_next_process(path: Path) -> None:
    store = SqliteStore(path)
    store.reserve(request("open"))
    store.reserve(request("settled"))
    store.settle(Charge(lease="settled", amounts=(7,), now_ms=START_MS))
    store.change("r", lambda _: (FULL_STATE, None))
    store.keep("r", "h", "text")
    store.open_run("t", "r", resume=False)
    store.close()

    later = SqliteStore(path)
    assert {"run/a": (7, 10)} == spent_and_reserved(later)
    later.settle(Charge(lease="open", amounts=(3,), now_ms=START_MS))
    assert {"run/a": (10, 0)} == spent_and_reserved(later)
    assert FULL_STATE == later.change("r", lambda state: (state, state))
    assert "text" == later.recall("r", "h")
    assert "r" == later.open_run("t", "fresh", resume=True)
    later.close()


def test_a_closed_store_opens_again_when_it_is_used(path: Path) -> None:
    store = SqliteStore(path)
    store.reserve(request("l"))
    store.close()

    assert {"run/a": (0, 10)} == spent_and_reserved(store)
    store.close()


def test_two_stores_on_one_file_see_each_others_changes_of_a_run(path: Path) -> None:
    one, two = SqliteStore(path), SqliteStore(path)
    for store in (one, two, two, one, one, two):
        store.change("r", lambda state: (replace(state, steps=state.steps + 1), None))

    assert [6, 6] == [store.change("r", lambda state: (state, state.steps)) for store in (one, two)]
    one.close()
    two.close()


def test_the_runs_that_began_longest_ago_are_forgotten_with_their_texts(path: Path) -> None:
    store = SqliteStore(path, max_runs=2)
    for run in ("a", "b", "c"):
        store.change(run, lambda state: (replace(state, steps=1), None))
        store.keep(run, "h", "text")
        store.open_run(f"thread-{run}", run, resume=False)
    store.change("d", lambda state: (replace(state, steps=1), None))

    assert [None, None, "text"] == [store.recall(run, "h") for run in ("a", "b", "c")]
    assert "fresh" == store.open_run("thread-a", "fresh", resume=True)
    assert RunState() == SqliteStore(path).change("a", lambda state: (state, state))
    store.close()


def test_runs_are_forgotten_by_how_many_there_are_however_often_each_changes(path: Path) -> None:
    store = SqliteStore(path, max_runs=2)
    for run in ("a", "b", "c"):
        for _ in range(10):
            store.change(run, lambda state: (replace(state, steps=state.steps + 1), None))

    assert [10, 10, 0] == [store.change(run, lambda state: (state, state.steps)) for run in ("c", "b", "a")]
    store.close()


def test_runs_of_one_thread_are_forgotten_as_others_are(path: Path) -> None:
    store = SqliteStore(path, max_runs=2)
    for run in ("a", "b", "c", "d"):
        store.open_run("thread", run, resume=False)
        store.change(run, lambda state: (replace(state, steps=1), None))
        store.keep(run, "h", "text")

    assert [None, None, "text", "text"] == [store.recall(run, "h") for run in ("a", "b", "c", "d")]
    assert "d" == store.open_run("thread", "fresh", resume=True)
    store.close()


def test_ledgers_go_when_their_window_is_over(path: Path) -> None:
    store = SqliteStore(path)
    store.reserve(request("l1", expires_ms=START_MS + 3_600_000))
    store.settle(Charge(lease="l1", amounts=(7,), now_ms=START_MS))

    later = replace(request("l2", now_ms=START_MS + 3_600_000), holds=(hold("other/o"),))
    store.reserve(later)

    assert {"other/o": (0, 10)} == spent_and_reserved(store)
    store.close()


def test_an_ended_lease_is_remembered_until_its_ttl_is_over(path: Path) -> None:
    store = SqliteStore(path)
    store.reserve(request("l"))
    store.settle(Charge(lease="l", amounts=(7,), now_ms=START_MS))

    kept = [store.reserve(request("l", now_ms=now)) for now in (START_MS + 999, START_MS + 2_000)]

    assert [LeaseState.SETTLED, LeaseState.DISPATCHED] == [lease.state for lease in kept if isinstance(lease, Lease)]
    store.close()


def test_a_forfeit_lease_is_corrected_within_a_day_and_then_stands(tmp_path: Path) -> None:
    spent: list[int] = []
    for late in (KEEP_MS - 1, KEEP_MS + 3_600_000):
        store = SqliteStore(tmp_path / f"{late}.db")
        store.reserve(request("lost"))
        for now in (START_MS + 1_000, START_MS + 1_000 + late):
            store.reserve(replace(request(f"at {now}", now_ms=now), holds=()))
        store.settle(Charge(lease="lost", amounts=(3,), now_ms=START_MS))
        spent.append(store.balances()[0].spent)
        store.close()

    assert [3, 10] == spent


def test_a_busy_file_keeps_only_what_may_still_be_asked_for(path: Path) -> None:
    store = SqliteStore(path)
    store.reserve(replace(request("lost"), ttl_ms=500))
    for number in range(600):
        now = START_MS + number * 20
        store.reserve(request(f"l{number}", amount=0, now_ms=now))
        store.settle(Charge(lease=f"l{number}", amounts=(0,), now_ms=now))
    store.close()

    db = sqlite3.connect(path)
    counted = dict(db.execute("SELECT state, count(*) FROM leases GROUP BY state"))
    db.close()
    assert 1 == counted["forfeit"]
    assert 50 <= counted["settled"] <= 110


def _child(path: Path, store: SqliteStore) -> None:
    for number in range(20):
        store.change("r", lambda state: (replace(state, steps=state.steps + 1), None))
        store.reserve(request(f"child-{number}", amount=1))
    assert path.exists()
    os._exit(0)


def test_a_forked_child_opens_the_file_anew_and_harms_nothing(path: Path) -> None:
    store = SqliteStore(path)
    store.change("r", lambda state: (replace(state, steps=1), None))
    child = multiprocessing.get_context("fork").Process(target=_child, args=(path, store))
    child.start()
    for number in range(20):
        store.reserve(request(f"parent-{number}", amount=1))
    child.join()

    assert 0 == child.exitcode
    assert {"run/a": (0, 40)} == spent_and_reserved(store)
    assert 21 == store.change("r", lambda state: (state, state.steps))
    store.close()


def refusal_of(path: Path) -> str:
    store = SqliteStore(path)
    with pytest.raises(StoreError) as caught:
        store.balances()
    store.close()
    return str(caught.value)


def test_a_file_that_is_no_database_is_an_error_with_a_remedy(path: Path) -> None:
    path.write_bytes(b"not a database, and longer than a header of one hundred bytes " * 100)

    assert "It is not a SQLite database" in refusal_of(path)


def test_a_damaged_file_is_an_error_with_a_remedy(path: Path) -> None:
    store = SqliteStore(path)
    for number in range(300):
        store.reserve(request(f"l{number}", amount=0))
    store.close()
    damaged = bytearray(path.read_bytes())
    damaged[100:] = b"\xff" * (len(damaged) - 100)
    path.write_bytes(bytes(damaged))

    assert "restore it from a backup" in refusal_of(path)


def test_a_missing_folder_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    assert "Its folder must exist" in refusal_of(tmp_path / "nowhere" / "governor.db")


def test_a_database_of_another_program_is_left_alone(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE songs (title TEXT)")
    other.close()

    assert "a database of another program" in refusal_of(path)
    other = sqlite3.connect(path)
    assert [("songs",)] == other.execute("SELECT name FROM sqlite_master").fetchall()
    other.close()


def test_a_file_of_another_format_is_refused_not_guessed_at(path: Path) -> None:
    store = SqliteStore(path)
    store.balances()
    store.close()
    db = sqlite3.connect(path)
    db.execute("UPDATE governor_schema SET version = 99")
    db.commit()
    db.close()

    assert "store format 99, this governor reads 3" in refusal_of(path)


def test_a_file_of_the_first_format_is_brought_up_to_date_with_all_that_is_in_it(path: Path) -> None:
    db = sqlite3.connect(path)
    for statement in FIRST_FORMAT:
        db.execute(statement)
    held = [["run/a", "nano_usd", 30, 100, "run", "run=a", "100", None]]
    db.execute("INSERT INTO leases VALUES (1, 'l', 'dispatched', ?, ?)", (START_MS + 50, json.dumps(held)))
    db.execute("INSERT INTO ledgers VALUES ('run/a', 'nano_usd', 'run', 'run=a', 5, 30, 100, NULL)")
    db.commit()
    db.close()

    store = SqliteStore(path)
    assert {"run/a": (5, 30)} == spent_and_reserved(store)
    assert [("l", LeaseState.DISPATCHED, (hold(amount=30),))] == [
        (lease.id, lease.state, lease.holds) for lease in store.leases()
    ]
    store.settle(Charge(lease="l", amounts=(12,), now_ms=START_MS))
    store.adjust(
        Adjustment(id="1", kind=AdjustmentKind.GRANT, subject="run/a", amount=50, who="a", why="b", at_ms=START_MS)
    )
    assert [(17, 0, 50)] == [(each.spent, each.reserved, each.granted) for each in store.balances()]
    store.close()


FIRST_FORMAT = (
    "CREATE TABLE governor_schema (version INTEGER NOT NULL)",
    "INSERT INTO governor_schema VALUES (1)",
    """CREATE TABLE ledgers (
        key TEXT PRIMARY KEY, unit TEXT NOT NULL, budget TEXT NOT NULL, scope TEXT NOT NULL,
        spent INTEGER NOT NULL DEFAULT 0, reserved INTEGER NOT NULL DEFAULT 0, lim INTEGER, expires_ms INTEGER
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE leases (
        seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, state TEXT NOT NULL, due_ms INTEGER NOT NULL, holds TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE runs (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, version INTEGER NOT NULL, state BLOB NOT NULL
    ) STRICT""",
    """CREATE TABLE kept (
        run TEXT NOT NULL, handle TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (run, handle)
    ) STRICT, WITHOUT ROWID""",
    "CREATE TABLE threads (thread TEXT PRIMARY KEY, run TEXT NOT NULL) STRICT, WITHOUT ROWID",
)


def test_an_unreadable_run_state_is_an_error_that_names_the_run(path: Path) -> None:
    store = SqliteStore(path)
    store.change("r", lambda state: (replace(state, steps=1), None))
    store.close()
    db = sqlite3.connect(path)
    db.execute("UPDATE runs SET state = ?", (b'{"steps": "many"}',))
    db.commit()
    db.close()

    later = SqliteStore(path)
    with pytest.raises(StoreError, match="the state of run r is unreadable"):
        later.change("r", lambda state: (state, None))
    later.close()


def test_a_thread_whose_run_is_unreadable_says_so_when_it_begins_another(path: Path) -> None:
    store = SqliteStore(path)
    store.open_run("t", "r", resume=False)
    store.change("r", lambda state: (replace(state, steps=1), None))
    db = sqlite3.connect(path)
    db.execute("UPDATE runs SET state = ?", (b'{"steps": "many"}',))
    db.commit()
    db.close()

    with pytest.raises(StoreError, match=r"the state of run r is unreadable.*on another thread"):
        store.open_run("t", "fresh", resume=False)
    assert "r" == store.latest_run("t")
    store.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_file_that_may_not_be_written_is_an_error_with_a_remedy(path: Path) -> None:
    store = SqliteStore(path)
    store.balances()
    store.close()
    path.chmod(0o400)

    assert "writable" in refusal_of(path)


def test_a_process_that_hangs_in_a_transaction_is_waited_for_and_then_named(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqliteStore(path)
    store.balances()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr("governor.stores.sqlite.WAIT_S", 0.05)

    with pytest.raises(StoreError, match="Another process holds it"):
        store.reserve(request("l"))
    other.execute("ROLLBACK")
    assert isinstance(store.reserve(request("l")), Lease)
    other.close()
    store.close()
