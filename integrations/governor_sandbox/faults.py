"""Failures on demand, each drawn by rule, by count or by a seeded chance."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from governor_sandbox.errors import Rejection
from governor_sandbox.matching import OneOrMore, Strict, When
from governor_sandbox.prompt import Conversation

FaultKind = Literal[
    "throttle", "server_error", "unavailable", "model_error", "timeout", "disconnect", "stream_error", "slow"
]


class Fault(Strict):
    """One failure and the requests it strikes. Without ``nth``, ``every`` or ``probability`` it strikes all that match.

    - ``throttle``, ``server_error``, ``unavailable``, ``model_error``: the provider's own error, at no cost.
    - ``timeout``: the answer is held until `Sandbox.release`, or until the client gives up; after ``after_chunks`` when streaming.
    - ``disconnect``: the connection drops after ``after_chunks``, or instead of an answer that is not streamed. Billed.
    - ``stream_error``: an error event after ``after_chunks``, without usage. Billed for what was sent. Streams only.
    - ``slow``: ``delay_ms`` before each chunk, or before an answer that is not streamed.
    """

    kind: FaultKind
    name: str = ""
    when: When = When()
    nth: OneOrMore[int] = Field(default=(), description="strike the n-th matching request, counted from 1")
    every: int | None = Field(default=None, ge=1, description="strike every n-th matching request")
    probability: float | None = Field(default=None, ge=0, le=1)
    times: int | None = Field(default=None, ge=1, description="strike at most this often")
    after_chunks: int | None = Field(default=None, ge=0)
    delay_ms: int = Field(default=0, ge=0)
    retry_after_s: float | None = Field(default=None, ge=0)
    message: str | None = None

    def strikes(self, n: int, chance: float) -> bool:
        """Whether the ``n``-th matching request (from 1) is hit, given a number drawn from [0, 1)."""
        if self.nth and n not in self.nth:
            return False
        if self.every is not None and n % self.every:
            return False
        return self.probability is None or chance < self.probability

    def rejection(self) -> Rejection | None:
        """The error a provider would answer with, for the kinds that are one."""
        retry = self.retry_after_s
        match self.kind:
            case "throttle":
                return Rejection(
                    "throttled",
                    self.message or "Too many requests, please wait before trying again.",
                    retry_after_s=retry,
                )
            case "server_error":
                return Rejection("server", self.message or "The server had an error while processing the request.")
            case "unavailable":
                return Rejection("unavailable", self.message or "The service is overloaded.", retry_after_s=retry)
            case "model_error":
                return Rejection("model_error", self.message or "The model failed to produce an answer.")
            case _:
                return None


class FaultLine:
    """Draws the fault of each request. The n-th matching request draws the same number in every run of a seed."""

    def __init__(self, faults: Sequence[Fault], seed: int) -> None:
        """Count from zero."""
        self._seed = seed
        self._lock = threading.Lock()
        self._faults: list[Fault] = list(faults)
        self._seen: dict[int, int] = {}
        self._struck: dict[int, int] = {}

    def add(self, fault: Fault) -> None:
        """Append one; earlier faults win."""
        with self._lock:
            self._faults.append(fault)

    def draw(self, talk: Conversation, *, stream: bool) -> Fault | None:
        """The first fault that strikes this request; every matching one counts it."""
        with self._lock:
            struck: Fault | None = None
            for i, fault in enumerate(self._faults):
                if fault.when.groups(talk) is None or (fault.kind == "stream_error" and not stream):
                    continue
                n = self._seen[i] = self._seen.get(i, 0) + 1
                chance = random.Random(f"{self._seed}:{i}:{n}").random()  # noqa: S311 - a seeded chance, no secret
                spent = fault.times is not None and self._struck.get(i, 0) >= fault.times
                if struck is None and not spent and fault.strikes(n, chance):
                    self._struck[i] = self._struck.get(i, 0) + 1
                    struck = fault
            return struck

    def reset(self) -> None:
        """Count from zero again; added faults stay."""
        with self._lock:
            self._seen.clear()
            self._struck.clear()
