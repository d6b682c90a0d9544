"""Whose turn it is to ask a person, when one node runs several tool calls at once.

LangGraph matches the answers to interrupts of one node by the order in which they are asked. Tool calls run side by side, so without an
order an approval given for one call could reach another. Here a call asks only when every call before it is past asking.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from contextvars import ContextVar
from typing import TYPE_CHECKING

from langgraph.errors import GraphInterrupt

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Turns", "turns_var"]


class Turns:
    """The tool calls of one node execution, in the model's order."""

    def __init__(self, calls: Sequence[str]) -> None:
        """`calls` are the ids of the tool calls."""
        self._past: dict[str, Future[bool]] = {call: Future() for call in calls}

    def past(self, call: str, *, interrupted: bool = False) -> None:
        """`call` will not ask any more, or has just asked and waits for its answer (`interrupted`)."""
        future = self._past.get(call)
        if future is not None and not future.done():
            future.set_result(interrupted)

    def wait(self, call: str) -> None:
        """Block until `call` may ask. Raises GraphInterrupt when an earlier one waits for its answer: one question at a time."""
        for future in self._before(call):
            if future.result():
                raise GraphInterrupt

    async def await_(self, call: str) -> None:
        """The async twin of `wait`."""
        for future in self._before(call):
            if await asyncio.wrap_future(future):
                raise GraphInterrupt

    def _before(self, call: str) -> list[Future[bool]]:
        """Calls before this one. They were started before it, so waiting for them cannot wait for ever."""
        ids = list(self._past)
        return [self._past[each] for each in ids[: ids.index(call)]] if call in self._past else []


turns_var: ContextVar[Turns | None] = ContextVar("governor_turns", default=None)
