"""A store for servers whose event loop must not wait: async calls are made in a worker thread."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from governor.stores.delegating import Delegating

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from governor.ledger import Adjustment, Balance, Charge, Halted, Lease, LeaseRecord, Refusal, ReserveRequest
    from governor.runs import RunState
    from governor.stores.contract import Store

__all__ = ["OffLoop"]

T = TypeVar("T")


class OffLoop(Delegating):
    """Another store, whose async calls do not block the loop. Each costs the way to a thread and back.

    LangGraph's development server raises an error for I/O on its loop: serve a graph there with `store=OffLoop(SqliteStore(path))`.
    """

    def __init__(self, store: Store) -> None:
        """`store` has to be safe for threads, as those of this package are."""
        super().__init__(store)

    async def aside(self, call: Callable[[], T]) -> T:
        """Make a call in a worker thread.

        A cancellation is delivered once the call has ended: whoever reserved learns of the lease, and can give it back.
        """
        made = asyncio.ensure_future(asyncio.to_thread(call))
        cancelled = False
        while not made.done():
            try:
                await asyncio.wait([made])
            except asyncio.CancelledError:
                cancelled = True
        task = asyncio.current_task()
        if cancelled and task is not None:
            task.uncancel()
            task.cancel()
        return made.result()

    async def achange(self, run: str, apply: Callable[[RunState], tuple[RunState, T]], *, later: bool = False) -> T:
        """`change`, aside."""
        return await self.aside(partial(self.store.change, run, apply, later=later))

    async def adispatch(self, lease: str, now_ms: int) -> bool:
        """`dispatch`, aside."""
        return await self.aside(partial(self.store.dispatch, lease, now_ms))

    async def aextend(self, lease: str, ttl_ms: int, now_ms: int) -> bool:
        """`extend`, aside."""
        return await self.aside(partial(self.store.extend, lease, ttl_ms, now_ms))

    async def ahalted(self, scopes: Sequence[str]) -> Halted | None:
        """`halted`, aside."""
        return await self.aside(partial(self.store.halted, scopes))

    async def areserve(self, request: ReserveRequest) -> Lease | Refusal:
        """`reserve`, aside."""
        return await self.aside(partial(self.store.reserve, request))

    async def asettle(self, charge: Charge) -> None:
        """`settle`, aside."""
        await self.aside(partial(self.store.settle, charge))

    async def arelease(self, lease: str, now_ms: int) -> None:
        """`release`, aside."""
        await self.aside(partial(self.store.release, lease, now_ms))

    async def akeep(self, run: str, handle: str, text: str) -> None:
        """`keep`, aside."""
        await self.aside(partial(self.store.keep, run, handle, text))

    async def arecall(self, run: str, handle: str) -> str | None:
        """`recall`, aside."""
        return await self.aside(partial(self.store.recall, run, handle))

    async def abalances(self, prefix: str = "") -> Sequence[Balance]:
        """`balances`, aside."""
        return await self.aside(partial(self.store.balances, prefix))

    async def aleases(self, run: str = "") -> Sequence[LeaseRecord]:
        """`leases`, aside."""
        return await self.aside(partial(self.store.leases, run))

    async def aadjust(self, adjustment: Adjustment) -> None:
        """`adjust`, aside."""
        await self.aside(partial(self.store.adjust, adjustment))

    async def aaudit(self, limit: int = 100) -> Sequence[Adjustment]:
        """`audit`, aside."""
        return await self.aside(partial(self.store.audit, limit))

    async def ahalts(self) -> Sequence[Halted]:
        """`halts`, aside."""
        return await self.aside(self.store.halts)
