"""Every operation of the store, written once: generators that yield script calls (or a write to wait for) and take in their answers."""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from governor.errors import LeaseConflict, StoreError
from governor.ids import Ids
from governor.ledger import Lease, LeaseState
from governor.runs import RunState, continued, dump_state
from governor.stores.ledgers import charged, granting
from governor.values import maker
from governor_redis.packing import (
    STATES,
    counted,
    read_halt,
    read_holds,
    recharge_numbers,
    reserve_numbers,
    shortfall,
    write_adjustment,
    write_holds,
)
from governor_redis.runs import Flight, KnownRuns
from governor_redis.server import Call, Seen

if TYPE_CHECKING:
    from governor.ledger import Adjustment, Charge, Refusal, ReserveRequest

__all__ = ["Flow", "Flows"]

T = TypeVar("T")
Flow: TypeAlias = Generator["Call | Future[None]", Any, T]
_lease = maker(Lease)
GRANTED, KNOWN, HALTED, SHORT, CONFLICT, LOST, TOO_MUCH, MISMATCH, GONE = range(1, 10)


class Flows:
    """Operations on one namespace, as one process knows it."""

    def __init__(self, namespace: str, *, loss_ms: int | None, state_ttl_ms: int, generation: str = "") -> None:
        """`loss_ms`: how long hard budgets are frozen after a loss; None: as long as the longest lease that this process asked for.

        `generation`: that the server is expected to have; empty: the one that it has at first.
        """
        self.prefix = f"{{governor:{namespace}}}:"
        self.loss_ms, self.state_ttl_ms = loss_ms, state_ttl_ms
        self.new_id = Ids()
        self.seen = Seen(self.new_id(), generation.encode())
        self.runs = KnownRuns(self.new_id)
        self._longest_ms = 60_000
        self.meta, self.ledgers, self.leases, self.due, self.ends, self.names, self.index, self.audit, self.order = (
            f"{self.prefix}{name}"
            for name in ("meta", "ledgers", "leases", "due", "ends", "names", "index", "audit", "order")
        )
        self._sweeping = (self.meta, self.ledgers, self.leases, self.due, self.ends, self.names, self.index)
        self._settling = (self.meta, self.ledgers, self.leases)

    def forked(self) -> None:
        """In a forked child: another process, which knows what its parent knew of the server but has written nothing itself."""
        self.seen = Seen(self.new_id(), self.seen.epoch)
        self.runs.forked()

    def run_key(self, run: str) -> str:
        """Where a run's state and texts are."""
        return f"{self.prefix}run:{run}"

    def thread_key(self, thread: str) -> str:
        """Where a thread's latest run is."""
        return f"{self.prefix}thread:{thread}"

    # --- ledgers

    def reserve(self, request: ReserveRequest) -> Flow[tuple[Lease | Refusal, bool]]:
        """The answer, and whether a lease is new. Raises as `Store.reserve` does, and ValueError for what is not counted exactly."""
        self._longest_ms = max(self._longest_ms, request.ttl_ms)
        numbers = reserve_numbers(request, self.seen.known(), self._loss(), self.state_ttl_ms)
        ledgers = [key for hold in request.holds for key in (hold.ledger, *hold.earlier)]
        fixed = (numbers, request.id, request.payload, request.run, write_holds(request.holds))
        rest = (*request.scopes, *ledgers, request.escrow) if request.escrow else (*request.scopes, *ledgers)
        reply = yield from self._along(request.run, "reserve", self._sweeping, fixed, rest)
        code = reply[0]
        if code == GRANTED:
            counts = counted(reply[4])
            passed, used, tightest = granting(request.holds, counts)
            state = LeaseState.DISPATCHED if request.dispatched else LeaseState.RESERVED
            lease = _lease(
                id=request.id,
                holds=request.holds,
                state=state,
                passed=passed,
                used_permille=used,
                tightest=tightest,
                generation=reply[1].decode(),
                spent=tuple([each.spent for each in counts]),
            )
            return lease, True
        if code == KNOWN:
            holds, state = read_holds(reply[5], reply[6]), STATES[reply[4]]
            return Lease(id=request.id, holds=holds, state=state, generation=reply[1].decode()), False
        if code == HALTED:
            return read_halt(reply[4]), False
        if code == SHORT:
            return shortfall(request.holds, reply[4]), False
        if code == CONFLICT:
            raise LeaseConflict(request.id)
        raise StoreError(
            f"ledger {reply[4].decode()} has reached {2**53}, the most that Redis counts exactly. Reset it, or begin another one."
        )

    def settle(self, charge: Charge) -> Flow[None]:
        """Raises ValueError when the amounts do not match the holds, and StoreError, once it is charged, when it noticed a loss."""
        amounts = charged(charge.amounts)
        numbers = struct.pack(f"<{4 + len(amounts)}d", *self._numbers(), len(amounts), *amounts)
        lease = charge.granted
        rest = (lease.generation if lease else "",)
        reply = yield from self._along(charge.run, "settle", self._settling, (numbers, charge.lease), rest)
        frozen = reply[4]
        if reply[0] == MISMATCH or (lease and len(lease.holds) != len(amounts)):
            message = f"{len(amounts)} amounts do not match the holds of {charge.lease}"
            raise ValueError(message)
        if reply[0] == GONE and lease:
            fixed = (recharge_numbers(charge, lease, self.seen.known(), self._loss()), charge.lease, charge.run)
            call = self._call("recharge", self._sweeping, (*fixed, write_holds(lease.holds)))
            frozen = self._learned(call, (yield call))[3] or frozen
        if frozen:
            raise self._lost(frozen)

    def release(self, lease: str) -> Flow[None]:
        """Give a lease back."""
        yield from self._along("", "settle", self._settling, (struct.pack("<4d", *self._numbers(), -1), lease), ("",))

    def prolong(self, lease: str, ttl_ms: int | None) -> Flow[bool]:
        """Extend a lease, or dispatch it when `ttl_ms` is None."""
        self._longest_ms = max(self._longest_ms, ttl_ms or 0)
        numbers = struct.pack("<3d", self.seen.known(), self._loss(), -1 if ttl_ms is None else ttl_ms)
        call = self._call("prolong", self._sweeping, (numbers, lease))
        return self._learned(call, (yield call))[0] == 1

    def look(self, epoch: bytes | None) -> Flow[None]:
        """Compare what a plain command read of the server's generation. Raises StoreError for another one than is known here."""
        if not self.seen.epoch:
            self.seen.learn(epoch or b"", 0.0)
        elif epoch != self.seen.epoch:
            yield from self.prolong("", 0)

    def adjust(self, change: Adjustment) -> Flow[None]:
        """Raises StoreError for an unknown ledger, and ValueError for a grant that is not counted exactly."""
        charged((abs(change.amount),))
        numbers = struct.pack("<3d", self.seen.known(), self._loss(), change.amount)
        written = write_adjustment(change)
        keys = (self.meta, self.ledgers, self.leases, self.due, self.audit, self.order)
        args = (numbers, change.id, change.kind, change.subject, written, written)
        call = self._call("adjust", keys, args)
        code = self._learned(call, (yield call))[0]
        if code == 0:
            raise StoreError(f"no ledger {change.subject}: see `governor budget list` for those there are.")
        if code == TOO_MUCH:
            raise StoreError(f"ledger {change.subject} would have more granted than Redis counts exactly. Grant less.")

    # --- runs

    def change(self, run: str, apply: Callable[[RunState], tuple[RunState, T]], *, later: bool) -> Flow[T]:
        """See `Store.change`."""
        while True:
            if later and (answered := self.runs.later(run, apply)) is not None:
                return answered[0]
            if (busy := self.runs.busy(run)) is not None:
                yield busy
                continue
            if later:
                yield from self.flush(run)  # nothing is known of it yet: look
                continue
            departing = self.runs.strict(run, apply)
            if departing is not None and (yield from self._fly(departing[0])):
                return departing[1]

    def flush(self, run: str) -> Flow[None]:
        """Write what waits."""
        yield from self.change(run, _unchanged, later=False)

    def keep(self, run: str, handle: str, text: str) -> Flow[None]:
        """Keep a text beside the run's state."""
        args = (struct.pack("<3d", *self._numbers()), "", "", b"", handle, text)
        call = self._call("state", (self.meta, self.run_key(run)), args)
        self._learned(call, (yield call))

    def open_run(self, thread: str, run: str, before: str) -> Flow[str]:
        """Let the thread have `run` if it still has `before`. Answers what it has now."""
        state = b""
        if before and run != before:
            state = dump_state(continued((yield from self.change(before, _read, later=False))))
        keys = (self.thread_key(thread), self.run_key(run))
        answer = yield Call("thread", keys, (before, run, self.new_id(), state, self.state_ttl_ms))
        return answer.decode()

    # --- one call

    def _along(
        self, run: str, name: str, keys: Sequence[str], fixed: Sequence[Any], rest: Sequence[Any] = ()
    ) -> Flow[list[Any]]:
        """A call that takes along what waits of `run`."""
        flight = self.runs.outgoing(run) if run else None
        if flight is None:
            call = self._call(name, keys, (*fixed, "", "", b"", *rest))
            return self._learned(call, (yield call))
        args = (*fixed, flight.expected, flight.version, flight.data, *rest)
        return (yield from self._flown(flight, self._call(name, (*keys, self.run_key(run)), args)))

    def _fly(self, flight: Flight) -> Flow[bool]:
        args = (struct.pack("<3d", *self._numbers()), flight.expected, flight.version, flight.data, "", "")
        call = self._call("state", (self.meta, self.run_key(flight.run)), args)
        reply = yield from self._flown(flight, call)
        return reply[-1]

    def _flown(self, flight: Flight, call: Call) -> Flow[list[Any]]:
        """Make a call that carries a state; the answer, and behind it whether the state was written."""
        try:
            reply = self._learned(call, (yield call))
        except BaseException:
            self.runs.failed(flight)
            raise
        return [*reply, self.runs.landed(flight, *reply[3])]

    def _call(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Call:
        return Call(name, keys, (self.seen.epoch, self.seen.process, *args))

    def _numbers(self) -> tuple[float, int, int]:
        return self.seen.known(), self._loss(), self.state_ttl_ms

    def _loss(self) -> int:
        return self._longest_ms if self.loss_ms is None else self.loss_ms

    def _learned(self, call: Call, reply: list[Any]) -> list[Any]:
        """The answer, with the epoch that the server had. Raises StoreError when it lost something, or is frozen since it did."""
        (own,) = struct.unpack("<d", reply[2])
        self.seen.learn(reply[1], own)
        reply[1] = reply[1] or call.args[0]
        if reply[0] != LOST:
            return reply
        raise self._lost(reply[-1])

    def _lost(self, packed: bytes) -> StoreError:
        (until,) = struct.unpack("<d", packed)
        when = datetime.fromtimestamp(until / 1000, UTC).isoformat(timespec="seconds")
        return StoreError(
            f"the Redis server lost what governor had written to {self.prefix[:-1]} (restarted without its data, or replaced by a stale"
            f" replica): hard budgets refuse until {when}. Restore it, or go on at once: RedisStore.accept_loss(), `governor resume store`."
        )


def _unchanged(state: RunState) -> tuple[RunState, None]:
    return state, None


def _read(state: RunState) -> tuple[RunState, RunState]:
    return state, state
