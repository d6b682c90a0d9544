"""A net under every test that talks to the sandbox through governor: no prompt moves its cached prefix without a reason in the trace.

What is compared is what the provider parsed, block by block, cache markers aside: request n+1 of a lane has to begin with all blocks of
request n, but for governor's own notes at the end of n. Each governed request carries the number of its lane in a header of the net's
own, so that branches side by side are not taken for one conversation. A move is explained by a `prefix.*` decision of the same node
and run, or by the marker `moves_prefix(reason)` of the test.
"""

from __future__ import annotations

import functools
import http.client
import itertools
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

HEADER = "x-prefix-net"
Block = tuple[str, str, str]
Place = tuple[str, str]
"""Run and node path."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """A governed request as it left governor."""

    lane: tuple[object, ...]
    place: Place
    model: str
    notes: tuple[str, ...]


@dataclass(kw_only=True)
class Arrived:
    """The same as the provider got it."""

    call: Call
    blocks: Sequence[Block]
    began: int
    ended: int | None = None
    ok: bool = False

    @property
    def lasting(self) -> Sequence[Block]:
        """The blocks without governor's notes, which no later request has."""
        blocks = list(self.blocks)
        for note in reversed(self.call.notes):
            if blocks and blocks[-1][2] == note:
                blocks.pop()
        return blocks


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A request that does not begin as the one before it."""

    place: Place
    at: int
    before: Block | None
    after: Block | None
    models: tuple[str, str]

    def __str__(self) -> str:
        what = f"block {self.at}: {_short(self.before)} became {_short(self.after)}"
        if self.models[0] != self.models[1]:
            what = f"{self.models[0]} became {self.models[1]}"
        return f"run {self.place[0]}, node {self.place[1]}: {what}"


@dataclass
class Net:
    """What one test sent."""

    calls: dict[str, Call] = field(default_factory=dict[str, Call])
    lanes: dict[tuple[object, ...], list[Arrived]] = field(default_factory=lambda: defaultdict(list))
    reasons: Counter[Place] = field(default_factory=Counter[Place])
    ticks: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    lock: threading.Condition = field(default_factory=threading.Condition)

    def moves(self) -> list[Moved]:
        """Requests that moved their prefix, whatever the trace says."""
        with self.lock:
            # The client has its answer a moment before the server is done with it; one that never ends is left out.
            self.lock.wait_for(lambda: all(each.ended is not None for lane in self.lanes.values() for each in lane), 2)
        found: list[Moved] = []
        for requests in self.lanes.values():
            answered = [each for each in requests if each.ok]
            for position, request in enumerate(answered):
                others = _before(request, answered[:position])
                if others and not any(_extends(request, other) for other in others):
                    found.append(_moved(request, others[-1]))
        return found

    def unexplained(self) -> list[Moved]:
        """Moves of a node in excess of the reasons that its trace gives."""
        left = Counter(self.reasons)
        found: list[Moved] = []
        for move in self.moves():
            if left[move.place]:
                left[move.place] -= 1
            else:
                found.append(move)
        return found


def _before(request: Arrived, earlier: Sequence[Arrived]) -> list[Arrived]:
    """The latest request that was over when this one came, and those that were under way with it."""
    over = [each for each in earlier if each.ended is not None and each.ended < request.began]
    beside = [each for each in earlier if each not in over]
    return [*over[-1:], *beside]


def _extends(request: Arrived, other: Arrived) -> bool:
    lasting = other.lasting
    return request.call.model == other.call.model and list(request.blocks[: len(lasting)]) == list(lasting)


def _moved(request: Arrived, other: Arrived) -> Moved:
    now, was = request.blocks, other.lasting
    at = next((i for i, (a, b) in enumerate(zip(now, was, strict=False)) if a != b), min(len(now), len(was)))
    return Moved(
        place=request.call.place,
        at=at,
        before=was[at] if at < len(was) else None,
        after=now[at] if at < len(now) else None,
        models=(other.call.model, request.call.model),
    )


def _short(block: Block | None) -> str:
    return "nothing" if block is None else repr(block)[:200]


current: Net | None = None
"""The net of the test that runs. Tests of one process run one after the other."""
sending: ContextVar[str | None] = ContextVar("prefix_net", default=None)
_numbers = itertools.count()
"""Over all nets of the process: a number that an earlier test left in its context names no call of a later one."""
_hung: set[str] = set()


def hang() -> None:
    """Hook what is loaded by now: the sandbox, governor's model path, the HTTP clients. What is hooked already stays as it is."""
    if "governor_sandbox.exchange" not in sys.modules or "governor_langgraph.model_path" not in sys.modules:
        return
    for name, hook in _HOOKS.items():
        if name not in _hung and name in sys.modules:
            _hung.add(name)
            hook(sys.modules[name])


def _wrap(owner: Any, name: str, wrapper: Callable[..., Any]) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        return wrapper(self, original, *args, **kwargs)

    setattr(owner, name, wrapped)


def _outgoing(self: Any, original: Callable[..., Any], request: Any) -> Any:
    made, net = original(self, request), current
    if net is not None:
        step = self.step
        run = step.run.ref
        # The store itself: another one may get its id later.
        conversation = (step.run.governor.runtime.store, run.thread or run.id)
        call = Call(
            lane=(*conversation, request.call.lane),
            place=(run.id, step.ref.path),
            model=str(request.model),
            notes=request.view.notes,
        )
        with net.lock:
            number = str(next(_numbers))
            net.calls[number] = call
        sending.set(number)
    return made


def _decided(self: Any, original: Callable[..., Any], span: Any, step: Any, decision: Any) -> None:
    net = current
    if net is not None and decision.reason is not None and decision.reason.code.startswith("prefix."):
        with net.lock:
            net.reasons[step.run.id, step.path] += 1
    original(self, span, step, decision)


def _serve(self: Any, original: Callable[..., Any], target: Any, headers: Any, body: Any, line: Any) -> None:
    token = _arriving.set(headers.get(HEADER))
    try:
        original(self, target, headers, body, line)
    finally:
        _arriving.reset(token)


def _served(self: Any, original: Callable[..., Any], request: Any, dialect: Any, book: Any, line: Any) -> None:
    net, number = current, _arriving.get()
    call = net.calls.get(number) if net is not None and number is not None else None
    if net is None or call is None or request.operation != "complete":
        original(self, request, dialect, book, line)
        return
    with net.lock:
        arrived = Arrived(call=call, blocks=_blocks(request.prompt), began=next(net.ticks))
        net.lanes[call.lane].append(arrived)
    try:
        original(self, request, dialect, book, line)
    finally:
        with net.lock:
            arrived.ended, arrived.ok = next(net.ticks), book.record.outcome == "ok"
            net.lock.notify_all()


def _blocks(prompt: Any) -> list[Block]:
    before = [(each.section, each.tag, each.text) for each in prompt.blocks if each.section != "messages"]
    return [
        *before,
        ("seam", "", prompt.seam),
        *((each.section, each.tag, each.text) for each in prompt.blocks if each.section == "messages"),
    ]


def _endheaders(self: Any, original: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    number = sending.get()
    if number is not None and current is not None:
        self.putheader(HEADER, number)
    original(self, *args, **kwargs)


def _send(self: Any, original: Callable[..., Any], request: Any) -> Any:
    number = sending.get()
    if number is not None and current is not None:
        request.headers[HEADER] = number
    return original(self, request)


_arriving: ContextVar[str | None] = ContextVar("prefix_net_arriving", default=None)


def _hook_httpx(library: Any) -> None:
    _wrap(library.Client, "_send_single_request", _send)
    _wrap(library.AsyncClient, "_send_single_request", _send)


def _hook_sandbox(module: Any) -> None:
    _wrap(module.Exchange, "serve", _serve)
    _wrap(module.Exchange, "_serve", _served)


_HOOKS: dict[str, Callable[[Any], None]] = {
    "governor_sandbox.exchange": _hook_sandbox,
    "governor_langgraph.model_path": lambda module: _wrap(module.Prepared, "outgoing", _outgoing),
    "governor.telemetry": lambda module: _wrap(module.Telemetry, "decided", _decided),
    "http.client": lambda module: _wrap(http.client.HTTPConnection, "endheaders", _endheaders),
    "httpx": _hook_httpx,
    "httpx2": _hook_httpx,
}
