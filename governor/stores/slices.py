"""Slices: a process leases a part of each ledger once, and grants from it by itself. For more calls than a store can serve one by one.

A slice is a lease of the store like any other, on one ledger, so that nothing changes for anybody else: spent + reserved never passes a
limit, and a slice whose process died is forfeit when its time is over, at most one slice for each ledger. A call is granted
locally when every one of its ledgers has room in its slice; what lacks room is leased, a slice for each ledger, or none of them.
Near a limit slices would keep others out: below `floor` of it, exactly what a call needs is leased.

What needs the store each time goes to it each time: rates, rolling windows, calls that wait. Halts are looked up every `halts_ms`.
While the store is lost, calls go on as long as the slices last, and what they would write of their runs is written when it is back.
After that, as with any store that does not answer, the policy's `on_store_loss` decides.
"""

from __future__ import annotations

from functools import partial
from heapq import heappop, heappush
from threading import RLock
from typing import TYPE_CHECKING

from governor.errors import StoreError
from governor.ids import Ids
from governor.ledger import Halted, Lease, LeaseState, ReserveRequest, Shortfall
from governor.stores.ledgers import KEEP_MS, charged, same_call
from governor.stores.pieces import Granted, Slice, direct, needed
from governor.stores.without import RunsWithoutStore
from governor.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from governor.ledger import Charge, Hold, Refusal
    from governor.stores.contract import Store

__all__ = ["SlicedStore"]

SHARE_PERMILLE = 10
"""Size of a slice, in thousandths of the limit."""
FLOOR_PERMILLE = 100
"""What has to be left of a limit for slices to be taken from it."""
SLICE_TTL_MS = 60_000
HALTS_MS = 1_000


class SlicedStore(RunsWithoutStore):
    """Another store, with local grants. Close it at the end, so that what is left of the slices goes back at once."""

    def __init__(
        self,
        store: Store,
        *,
        share_permille: int = SHARE_PERMILLE,
        floor_permille: int = FLOOR_PERMILLE,
        ttl_ms: int = SLICE_TTL_MS,
        halts_ms: int = HALTS_MS,
        new_id: Callable[[], str] | None = None,
    ) -> None:
        """Grant from `store`. Raises ValueError for shares that make no sense.

        `share_permille`, `floor_permille`: of a ledger's limit. `ttl_ms`: how long a slice is granted from. `halts_ms`: how old what is
        known of halts may be; 0 asks the store every time.
        """
        if not 0 < share_permille <= floor_permille <= 1_000:
            message = (
                f"a slice of {share_permille} permille and a floor of {floor_permille}: need 0 < share <= floor <= 1000"
            )
            raise ValueError(message)
        super().__init__(store)
        self._share, self._floor = share_permille, floor_permille
        self._ttl_ms, self._halts_ms = ttl_ms, halts_ms
        self._new_id = new_id or Ids()
        self._lock = RLock()
        self._slices: dict[str, Slice] = {}
        self._closing: list[Slice] = []
        self._latest_ms = 0
        self._granted: dict[str, Granted] = {}
        self._due: list[tuple[int, str]] = []
        self._halts: tuple[int, dict[str, Halted]] = (-HALTS_MS, {})

    # --- granting

    def reserve(self, request: ReserveRequest) -> Lease | Refusal:
        """Grant from slices; lease what lacks room. As the store does in everything else."""
        now = request.now_ms
        with self._lock:
            self._latest_ms = max(self._latest_ms, now)
            self._sweep(now)
            known = self._granted.get(request.id)
            if known is not None:
                same_call(request, known.request.payload)
                return Lease(id=request.id, holds=known.request.holds, state=known.state)
            halted = self._halted(request.scopes, now)
            if halted is not None:
                return halted
            apart, own = direct(request), None
            lease = Lease(id=request.id, holds=request.holds)
            refusal = self._room(request, apart)
            if refusal is not None:
                return refusal
            if apart:
                own = self.store.reserve(replace(request, holds=tuple([request.holds[at] for at in apart])))
                if not isinstance(own, Lease):
                    return own
                lease = replace(own, holds=request.holds, generation="", spent=())  # what may be lost is not this lease
            parts = [(at, self._take(hold)) for at, hold in enumerate(request.holds) if at not in apart]
            self._granted[request.id] = Granted(request, now + request.ttl_ms, parts, apart, own, lease.state)
            heappush(self._due, (now + request.ttl_ms, request.id))
            return lease

    def settle(self, charge: Charge) -> None:
        """Charge the slices; the store learns of it when they are used up or given back."""
        with self._lock:
            granted = self._granted.get(charge.lease)
            if granted is None:
                self.store.settle(charge)
                return
            if len(charged(charge.amounts)) != len(granted.request.holds):
                message = f"{len(charge.amounts)} amounts for {len(granted.request.holds)} holds"
                raise ValueError(message)
            if granted.state in (LeaseState.SETTLED, LeaseState.RELEASED):
                return
            if granted.direct:
                amounts = tuple([charge.amounts[at] for at in granted.direct])
                self.store.settle(replace(charge, amounts=amounts, granted=granted.own))
            forfeit = granted.state is LeaseState.FORFEIT
            for at, piece in granted.parts:
                self._end(piece, granted.request.holds[at].amount, charge.amounts[at], charge.now_ms, forfeit=forfeit)
            granted.state = LeaseState.SETTLED

    def release(self, lease: str, now_ms: int) -> None:
        """Give a lease back."""
        with self._lock:
            granted = self._granted.get(lease)
            if granted is None or granted.direct:
                self.store.release(lease, now_ms)
            if granted is None or granted.state not in (LeaseState.RESERVED, LeaseState.DISPATCHED):
                return
            for at, piece in granted.parts:
                self._end(piece, granted.request.holds[at].amount, 0, now_ms, forfeit=False)
            granted.state = LeaseState.RELEASED

    def dispatch(self, lease: str, now_ms: int) -> bool:
        """Calls that wait are the store's own."""
        with self._lock:
            begun = self.store.dispatch(lease, now_ms)
            granted = self._granted.get(lease)
            if begun and granted is not None:
                granted.state = LeaseState.DISPATCHED
            return begun

    def extend(self, lease: str, ttl_ms: int, now_ms: int) -> bool:
        """Let a call live longer, and the slices it was taken from with it."""
        with self._lock:
            granted = self._granted.get(lease)
            if granted is None:
                return self.store.extend(lease, ttl_ms, now_ms)
            if granted.state not in (LeaseState.RESERVED, LeaseState.DISPATCHED) or granted.due_ms <= now_ms:
                return False
            if granted.direct and not self.store.extend(lease, ttl_ms, now_ms):
                return False
            granted.due_ms = max(granted.due_ms, now_ms + ttl_ms)
            for _, piece in granted.parts:
                self.store.extend(piece.lease.id, ttl_ms + self._ttl_ms, now_ms)
            return True

    async def areserve(self, request: ReserveRequest) -> Lease | Refusal:
        """Grant at once from slices; what has to ask the store does so off the loop, if the store may keep it waiting."""
        with self._lock:
            apart = direct(request)
            fresh = request.now_ms - self._halts[0] < self._halts_ms
            if fresh and not apart and not self._lacking(needed(request.holds, apart), request.now_ms):
                return self.reserve(request)
        return await self.store.aside(partial(self.reserve, request))

    async def asettle(self, charge: Charge) -> None:
        """Locally, unless the store held a part of it or the slice is to be returned."""
        with self._lock:
            granted = self._granted.get(charge.lease)
            if granted is not None and not granted.direct and all(piece.open for _, piece in granted.parts):
                self.settle(charge)
                return
        await self.store.aside(partial(self.settle, charge))

    async def arelease(self, lease: str, now_ms: int) -> None:
        """As `asettle`."""
        await self.store.aside(partial(self.release, lease, now_ms))

    def close(self) -> None:
        """Return the slices and close the store."""
        if self._latest_ms:
            self.give_back(self._latest_ms)
        self.store.close()

    def give_back(self, now_ms: int) -> None:
        """Return what is left of every slice. Slices with calls under way follow when these end."""
        with self._lock:
            self._close_waiting(now_ms)
            for piece in list(self._slices.values()):
                self._retire(piece, now_ms)

    def _room(self, request: ReserveRequest, apart: tuple[int, ...]) -> Refusal | None:
        """Make sure that every ledger of the request has room in its slice; answers why one has not."""
        wanted = needed(request.holds, apart)
        lacking = self._lacking(wanted, request.now_ms)
        if not lacking:
            return None
        self._close_waiting(request.now_ms)
        for hold in lacking:
            if hold.ledger in self._slices:
                self._retire(self._slices[hold.ledger], request.now_ms)
        refusal = self._lease(lacking, request, [self._size(hold) for hold in lacking])
        if refusal is None:
            return None
        # Others, or slices of our own that few calls use, have the rest: then exactly what this call needs.
        self.give_back(request.now_ms)
        for piece in list(self._closing):
            self._shrink(piece, request)
        return self._lease(wanted, request, [hold.amount for hold in wanted])

    def _lacking(self, needed: list[Hold], now_ms: int) -> list[Hold]:
        """Those for which the slice at hand does not do."""
        return [
            hold
            for hold in needed
            if (piece := self._slices.get(hold.ledger)) is None
            or piece.room < hold.amount
            or piece.until_ms <= now_ms
            or piece.hold.limit != hold.limit
        ]

    def _size(self, hold: Hold) -> int:
        limit = hold.limit if hold.limit is not None else hold.alert
        return max(hold.amount, (limit or 0) * self._share // 1_000)

    def _lease(self, holds: list[Hold], request: ReserveRequest, sizes: list[int]) -> Refusal | None:
        """One slice for each hold, in one request; above the floor alone unless it is for exactly one call."""
        wanted = tuple([replace(hold, amount=size, share=False) for hold, size in zip(holds, sizes, strict=True)])
        # As many leases as ledgers, since each ends by itself; they are asked for together or not at all.
        taken: list[Slice] = []
        for hold, plain in zip(wanted, holds, strict=True):
            answer = self._ask(hold, request)
            if isinstance(answer, Lease) and hold.amount > plain.amount and answer.used_permille > 1_000 - self._floor:
                self.store.release(answer.id, request.now_ms)
                answer = Shortfall(hold=hold, spent=0, reserved=0)
            if not isinstance(answer, Lease):
                for piece in taken:
                    self.store.release(piece.lease.id, request.now_ms)
                return answer
            taken.append(Slice(answer, hold, request.now_ms + self._ttl_ms))
        for piece in taken:
            self._slices[piece.hold.ledger] = piece
        return None

    def _ask(self, hold: Hold, request: ReserveRequest) -> Lease | Refusal:
        lease = f"slice/{self._new_id()}"
        return self.store.reserve(
            ReserveRequest(
                id=lease,
                holds=(hold,),
                ttl_ms=self._ttl_ms + request.ttl_ms,
                now_ms=request.now_ms,
                payload=lease,
                scopes=request.scopes,
                run=request.run,
            )
        )

    def _take(self, hold: Hold) -> Slice:
        piece = self._slices[hold.ledger]
        piece.held += hold.amount
        return piece

    def _end(self, piece: Slice, held: int, charged: int, now_ms: int, *, forfeit: bool) -> None:
        """End one hold at `charged`; one that was forfeit was charged already."""
        if forfeit:
            piece.spent += charged - held
        else:
            piece.held -= held
            piece.spent += charged
        if not piece.open and not piece.held:
            self._close(piece, now_ms)

    def _retire(self, piece: Slice, now_ms: int) -> None:
        """Grant no more from a slice, and return it once no call is under way on it."""
        piece.open = False
        if self._slices.get(piece.hold.ledger) is piece:
            del self._slices[piece.hold.ledger]
        if piece.held:
            self._closing.append(piece)
        else:
            self._close(piece, now_ms)

    def _shrink(self, piece: Slice, request: ReserveRequest) -> None:
        """Return what no call under way needs of a slice that is being returned, if there is room to hold those calls anew first."""
        if piece.room <= 0:
            return
        hold = replace(piece.hold, amount=piece.held)
        lease = self._ask(hold, request)
        if isinstance(lease, Lease):
            self.store.settle(piece.charge(request.now_ms))
            piece.lease, piece.hold, piece.spent = lease, hold, 0

    def _close(self, piece: Slice, now_ms: int) -> None:
        """Return a slice. While the store is lost it waits: whoever ended its last call has done so, and must not end it again."""
        try:
            self.store.settle(piece.charge(now_ms))
        except StoreError:
            if piece not in self._closing:
                self._closing.append(piece)
            return
        if piece in self._closing:
            self._closing.remove(piece)

    def _close_waiting(self, now_ms: int) -> None:
        """Return the slices that could not be returned before."""
        for piece in [each for each in self._closing if not each.held]:
            self._close(piece, now_ms)

    def _sweep(self, now_ms: int) -> None:
        """Charge calls that were never settled at what they held; forget those that are long over."""
        while self._due and self._due[0][0] <= now_ms:
            lease = heappop(self._due)[1]
            granted = self._granted[lease]
            if granted.due_ms <= now_ms and granted.state is not LeaseState.DISPATCHED:
                del self._granted[lease]
                continue
            if granted.due_ms <= now_ms:
                for at, piece in granted.parts:
                    amount = granted.request.holds[at].amount
                    self._end(piece, amount, amount, now_ms, forfeit=False)
                granted.state, granted.due_ms = LeaseState.FORFEIT, now_ms + KEEP_MS  # a late settlement corrects it
            heappush(self._due, (granted.due_ms, lease))

    def _halted(self, scopes: Sequence[str], now_ms: int) -> Halted | None:
        known_ms, halts = self._halts
        if now_ms - known_ms >= self._halts_ms:
            try:
                halts = {halt.scope: halt for halt in self.store.halts()}
            except StoreError:
                return next((halts[scope] for scope in scopes if scope in halts), None)
            self._halts = (now_ms, halts)
        return next((halts[scope] for scope in scopes if scope in halts), None)
