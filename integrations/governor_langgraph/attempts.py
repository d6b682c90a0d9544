"""One provider call is one attempt. The retries that user code gave its client are made by the path, each with its own reservation.

A client that retries by itself sends requests that nobody reserved, and an attempt that broke off may have been billed. So where a
budget counts model calls, a copy of the client that sends once takes its place, and what it would have sent again is sent again by the
path: as often, after the same failures, after pauses like its own.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from governor_langgraph.answers import wait_asked
from governor_langgraph.vendors import vendor_of

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from governor.meter import Meter
    from governor_langgraph.vendors import Failure

__all__ = ["Attempts", "single_attempt"]

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 8.0
"""The first pause and the longest, as OpenAI's and Anthropic's SDKs have them (`INITIAL_RETRY_DELAY`, `MAX_RETRY_DELAY`)."""


class Attempts:
    """The attempts of one governed call; a call has one of these for all of its provider calls."""

    __slots__ = ("_made", "_pause_s", "allowed")

    def __init__(self) -> None:
        """No failure yet."""
        self.allowed = 0
        """How often user code lets a failed request be sent again."""
        self._made = 0
        self._pause_s = 0.0

    def again(self, error: BaseException, failure: Failure, *, read: bool = False) -> bool:
        """Whether a failed attempt is followed by another one; if so, `pause` or `apause` comes before it.

        `read` says that someone may have read a part of an answer by now: no second one is begun unless that is ruled out.
        """
        if not failure.resent or (read and not failure.unanswered) or self._made >= self.allowed:
            return False
        self._pause_s = _pause_s(error, self._made)
        self._made += 1
        return True

    def judged(self, error: BaseException, failure: Failure, meter: Meter, *, read: bool = False) -> None:
        """Note in `meter` what a failed attempt means for the next one: at the same tier or at another."""
        meter.again = self.again(error, failure, read=read)
        meter.unread = not read or failure.unanswered

    def pause(self) -> None:
        """Wait before another attempt; not at all before a first one."""
        if self._pause_s:
            time.sleep(self._taken())

    async def apause(self) -> None:
        """The async twin of `pause`."""
        if self._pause_s:
            await asyncio.sleep(self._taken())

    def _taken(self) -> float:
        pause_s, self._pause_s = self._pause_s, 0.0
        return pause_s


def _pause_s(error: BaseException, made: int) -> float:
    """What the provider asked for, else doubling pauses, up to a quarter shorter, so that callers do not come back in step."""
    asked_s = wait_asked(error)
    if asked_s is not None:
        return asked_s
    return min(FIRST_PAUSE_S * 2**made, LONGEST_PAUSE_S) * (1 - random.random() / 4)  # noqa: S311 - no secret


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """The copy of one client."""

    of: weakref.ref[BaseChatModel]
    fields: dict[str, Any]
    """The client's attributes when it was copied: user code may change them later."""
    copy: BaseChatModel | None
    """None when the client itself sends once: held here it would never be forgotten."""
    retries: int


_known: dict[int, _Known] = {}
_lock = threading.Lock()


def single_attempt(model: BaseChatModel) -> tuple[BaseChatModel, int]:
    """A client like `model` that sends each call once, and how often `model` sends one again. Copies live as long as their originals."""
    known = _known.get(id(model))
    if known is None or known.of() is not model or known.fields != vars(model):
        copy, retries = vendor_of(model).single_attempt(model)
        key = id(model)
        known = _Known(
            of=weakref.ref(model, lambda _: _known.pop(key, None)),
            fields=dict(vars(model)),
            copy=None if copy is model else copy,
            retries=retries,
        )
        with _lock:
            _known[key] = known
    return known.copy or model, known.retries
