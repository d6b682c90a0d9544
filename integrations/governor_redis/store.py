"""The store of a fleet, in Redis. What an operation is, is in `flows`; here it is driven, blocking or on an event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from governor.errors import ConfigurationError
from governor.ledger import Adjustment, AdjustmentKind
from governor.stores.contract import Store
from governor_redis.driving import Driven
from governor_redis.flows import Flows
from governor_redis.packing import read_adjustment, read_balance, read_halt, read_lease
from governor_redis.server import Call, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import redis

    from governor.ledger import Balance, Charge, Halted, Lease, LeaseRecord, Refusal, ReserveRequest
    from governor.runs import RunState

__all__ = ["RedisStore", "opened"]

T = TypeVar("T")
PAGE = 1_000
DAY_MS = 24 * 3_600_000


class RedisStore(Driven):
    """Ledgers and run state of a fleet. Safe for threads, tasks and forks; nothing is opened before the first call.

    Time is the server's: `now_ms` of requests is ignored.

    What a namespace holds has a generation, a name written by whoever comes first. A server that was emptied gets another one; one that
    is behind has the same, and lacks the number of somebody's latest write. So a loss is noticed by each process that knew the generation
    (it read or wrote before), or wrote what is lacking, and by each that settles a lease of another generation. From then on hard budgets
    refuse everybody, until what was forgotten is over; charges are taken, and bring back what their leases knew of their ledgers.

    An empty server is no loss to a process that knows no generation: it may be new. Where all processes may start again together with
    their server, give them the `generation` that it had.
    """

    def __init__(
        self,
        client: str | redis.Redis | redis.RedisCluster,
        *,
        namespace: str = "default",
        timeout_s: float = 2.0,
        connections: int = 16,
        loss_ms: int | None = None,
        state_ttl_ms: int = 30 * DAY_MS,
        generation: str = "",
    ) -> None:
        """A URL (`redis://`, `rediss://`, `unix://`) or a client of redis-py, whose connections are made anew or, of a cluster, used.

        `namespace`: stores of one namespace are one store. `timeout_s`: after which a command that is not answered is sent again, twice
        at most. `loss_ms`: how long hard budgets refuse after the server lost data; None: the longest lease that was asked for.
        `state_ttl_ms`: how long a run that nobody touches is remembered. `generation`: that it is expected to have; empty: any.
        Raises ValueError for a namespace with a brace.
        """
        if not namespace or set(namespace) & set("{}"):
            message = f"namespace {namespace!r}: needs a name without braces, which tell a cluster where its keys are"
            raise ValueError(message)
        server = Server(client, timeout_s=timeout_s, connections=connections)
        flows = Flows(namespace, loss_ms=loss_ms, state_ttl_ms=state_ttl_ms, generation=generation)
        super().__init__(server, flows)

    # --- blocking

    def change(self, run: str, apply: Callable[[RunState], tuple[RunState, T]], *, later: bool = False) -> T:
        """Compare and swap; `apply` runs again when somebody else wrote. `later`: on what this process knows, written along."""
        return self._drive(self._here().change(run, apply, later=later))

    def reserve(self, request: ReserveRequest) -> Lease | Refusal:
        """One script call."""
        return self._drive(self._here().reserve(request))[0]

    def dispatch(self, lease: str, now_ms: int) -> bool:
        """One script call."""
        del now_ms
        return self._drive(self._here().prolong(lease, None))

    def extend(self, lease: str, ttl_ms: int, now_ms: int) -> bool:
        """One script call."""
        del now_ms
        return self._drive(self._here().prolong(lease, ttl_ms))

    def settle(self, charge: Charge) -> None:
        """One script call, and another for a lease that the server lost. Raises StoreError when it noticed a loss: it is charged then."""
        self._drive(self._here().settle(charge))

    def release(self, lease: str, now_ms: int) -> None:
        """One script call."""
        del now_ms
        self._drive(self._here().release(lease))

    def adjust(self, adjustment: Adjustment) -> None:
        """One script call. A resume of `store` accepts a loss."""
        self._drive(self._here().adjust(adjustment))

    def accept_loss(self, *, who: str, why: str, at_ms: int) -> None:
        """Go on with what a server has that lost data, before the leases of before have run out. An audited change like any other."""
        self.adjust(
            Adjustment(
                id=self._flows.new_id(), kind=AdjustmentKind.RESUME, subject="store", who=who, why=why, at_ms=at_ms
            )
        )

    def balances(self, prefix: str = "") -> Sequence[Balance]:
        """Ledgers by the index of their keys, a page at a time: each page is of one moment."""
        flows, found = self._here(), list["Balance"]()
        start = b"[" + prefix.encode() if prefix else b"-"
        end = b"[" + prefix.encode() + b"\xff" if prefix else b"+"
        while True:
            call = Call("balances", (flows.ledgers, flows.names, flows.index), (start, end, PAGE))
            keys, raws, names = self._server.call(call)
            found += [read_balance(*each) for each in zip(keys, raws, names, strict=True) if each[1]]
            if len(keys) < PAGE:
                return found
            start = b"(" + keys[-1]

    def leases(self, run: str = "") -> Sequence[LeaseRecord]:
        """Leases in the order they were made, looked through some hundred at a time."""
        flows, found, cursor = self._here(), dict[str, "tuple[int, LeaseRecord]"](), b"0"
        while True:
            cursor, page = self._server.call(Call("leases", (flows.leases,), (cursor, run)))
            for each in page:
                number, record = read_lease(each)
                found[record.id] = number, record
            if cursor == b"0":
                return [record for _, record in sorted(found.values(), key=lambda pair: pair[0])]

    def audit(self, limit: int = 100) -> Sequence[Adjustment]:
        """The latest changes, newest first."""
        flows = self._here()
        ids: list[bytes] = self._server.command("LRANGE", flows.order, -limit, -1) if limit > 0 else []
        changes: list[bytes] = self._server.command("HMGET", flows.audit, *reversed(ids)) if ids else []
        return [read_adjustment(each) for each in changes]

    def halted(self, scopes: Sequence[str]) -> Halted | None:
        """The halt of the first of these scopes that has one. Raises StoreError for a server that may have lost it."""
        if not scopes:
            return None
        flows = self._here()
        epoch, *found = self._server.command("HMGET", flows.meta, "e", *[f"h:{scope}" for scope in scopes])
        self._drive(flows.look(epoch))
        return next((read_halt(each) for each in found if each), None)

    def halts(self) -> Sequence[Halted]:
        """Every halt in force."""
        meta = self._here().meta
        keys: list[bytes] = self._server.command("HKEYS", meta)
        halts = sorted([key for key in keys if key.startswith(b"h:")])
        found: list[bytes | None] = self._server.command("HMGET", meta, *halts) if halts else []
        return [read_halt(each) for each in found if each]

    def keep(self, run: str, handle: str, text: str) -> None:
        """Keep a text for as long as the run is remembered."""
        self._drive(self._here().keep(run, handle, text))

    def recall(self, run: str, handle: str) -> str | None:
        """The text under `handle`, or None."""
        text: bytes | None = self._server.command("HGET", self._here().run_key(run), f"k:{handle}")
        return None if text is None else text.decode()

    def open_run(self, thread: str | None, fresh: str, *, resume: bool) -> str:
        """`fresh`, or on a resume the run that the thread had last. Begins again when another process opens one at the same moment."""
        if thread is None:
            return fresh
        while True:
            before = self.latest_run(thread) or ""
            wanted = before if resume and before else fresh
            if self._drive(self._here().open_run(thread, wanted, before)) == wanted:
                return wanted

    def latest_run(self, thread: str) -> str | None:
        """The run that the thread had last."""
        run: bytes | None = self._server.command("GET", self._here().thread_key(thread))
        return None if run is None else run.decode()

    def close(self) -> None:
        """Write what waits and close the connections; a later call opens them again."""
        flows = self._here()
        try:
            for run in flows.runs.pending():
                self._drive(flows.flush(run))
        finally:
            self._server.close()
            for lane in list(self._lanes.values()):
                if not lane.loop.is_closed():
                    asyncio.run_coroutine_threadsafe(lane.close(), lane.loop)

    def same_as(self, other: Store) -> bool:
        """Whether both are one namespace of one server."""
        return isinstance(other, RedisStore) and self.address == other.address

    def generation(self) -> str:
        """Of what the server holds now; empty when nobody has written to it. What processes are started with to notice a loss."""
        found: bytes | None = self._server.command("HGET", self._here().meta, "e")
        return (found or b"").decode()

    @property
    def address(self) -> tuple[str, str]:
        """Where it keeps its ledgers: server, and beginning of its keys."""
        return self._server.where, self._flows.prefix

    # --- on an event loop

    async def achange(self, run: str, apply: Callable[[RunState], tuple[RunState, T]], *, later: bool = False) -> T:
        """Async twin of `change`."""
        return await self._adrive(self._here().change(run, apply, later=later))

    async def areserve(self, request: ReserveRequest) -> Lease | Refusal:
        """Async twin of `reserve`. Cancelled before it was sent, it is not; cancelled later, its lease is given back."""
        return (await self._adrive(self._here().reserve(request), droppable=True))[0]

    async def adispatch(self, lease: str, now_ms: int) -> bool:
        """Async twin of `dispatch`."""
        del now_ms
        return await self._adrive(self._here().prolong(lease, None))

    async def aextend(self, lease: str, ttl_ms: int, now_ms: int) -> bool:
        """Async twin of `extend`."""
        del now_ms
        return await self._adrive(self._here().prolong(lease, ttl_ms))

    async def asettle(self, charge: Charge) -> None:
        """Async twin of `settle`."""
        await self._adrive(self._here().settle(charge))

    async def arelease(self, lease: str, now_ms: int) -> None:
        """Async twin of `release`."""
        del now_ms
        await self._adrive(self._here().release(lease))

    async def akeep(self, run: str, handle: str, text: str) -> None:
        """Async twin of `keep`."""
        await self._adrive(self._here().keep(run, handle, text))

    async def arecall(self, run: str, handle: str) -> str | None:
        """Async twin of `recall`."""
        return await self.aside(lambda: self.recall(run, handle))

    async def ahalted(self, scopes: Sequence[str]) -> Halted | None:
        """Async twin of `halted`."""
        return await self.aside(lambda: self.halted(scopes))

    async def abalances(self, prefix: str = "") -> Sequence[Balance]:
        """Async twin of `balances`."""
        return await self.aside(lambda: self.balances(prefix))

    async def aleases(self, run: str = "") -> Sequence[LeaseRecord]:
        """Async twin of `leases`."""
        return await self.aside(lambda: self.leases(run))

    async def aadjust(self, adjustment: Adjustment) -> None:
        """Async twin of `adjust`."""
        await self._adrive(self._here().adjust(adjustment))

    async def aaudit(self, limit: int = 100) -> Sequence[Adjustment]:
        """Async twin of `audit`."""
        return await self.aside(lambda: self.audit(limit))

    async def ahalts(self) -> Sequence[Halted]:
        """Async twin of `halts`."""
        return await self.aside(self.halts)


def opened(address: str) -> RedisStore:
    """The store at an address: a URL of redis-py, whose query may have `namespace` and `generation` beside redis-py's options."""
    parts = urlsplit(address)
    options = dict(parse_qsl(parts.query))
    namespace, generation = options.pop("namespace", "default"), options.pop("generation", "")
    try:
        return RedisStore(
            urlunsplit(parts._replace(query=urlencode(options))), namespace=namespace, generation=generation
        )
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
