"""The prompt cache: what of a prompt is read, what is written, and what is paid in full.

One request has two moments. `plan` looks up when it arrives and decides what it will be billed; `commit` makes its prefix
readable when its response begins. So identical requests in flight together all pay, as they do at a provider.

Four rules, chosen by the model:
    claude     an entry per breakpoint; a breakpoint finds entries up to 20 blocks back, itself included
    nova       an entry per breakpoint; no looking back; a cached prefix counts at most ``max_cache_tokens``
    automatic  any prefix, from ``min_cache_tokens`` in steps of 128 tokens; writing is free
    none       everything is paid in full
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from governor_sandbox.catalogue import Model
from governor_sandbox.ideal import Beginning, Ideal, markable
from governor_sandbox.prompt import Block, Prompt, Ttl
from governor_sandbox.tokens import pieces

LOOK_BACK_BLOCKS = 20
STEP_TOKENS = 128
_MANY_ENTRIES = 200_000
"""From here on the dead are swept out: a server may run for days."""
TTL_SECONDS: dict[Ttl, float] = {"5m": 300.0, "1h": 3600.0}


@dataclass(slots=True)
class _Entry:
    """A cached prefix; ``used_at`` is seconds on the sandbox's clock and moves with every hit."""

    ttl: Ttl
    used_at: float

    def alive(self, now: float) -> bool:
        return now < self.used_at + TTL_SECONDS[self.ttl]


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePlan:
    """How one request's input splits, in tokens. The four parts always add up to the whole input."""

    uncached: int
    read: int
    written_5m: int
    written_1h: int
    touched: tuple[tuple[bytes, Ttl], ...] = ()
    ideal: int = 0
    """What an ideal cache would have read."""
    beginnings: tuple[Beginning, ...] = ()
    hour: bool = False
    """Whether the prompt asks for entries that live for an hour."""

    @property
    def total(self) -> int:
        """The whole input."""
        return self.uncached + self.read + self.written_5m + self.written_1h


@dataclass(frozen=True, slots=True)
class _Prefix:
    """The prompt up to and including one block."""

    digest: bytes
    tokens: int
    ttl: Ttl | None


@dataclass(slots=True)
class PromptCache:
    """All cached prefixes of one sandbox; an entry belongs to the model it was written with. Safe to share."""

    _entries: dict[bytes, _Entry] = field(default_factory=dict[bytes, _Entry])
    _ideal: Ideal = field(default_factory=Ideal)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def plan(self, model: Model, prompt: Prompt, now: float) -> CachePlan:
        """Decide what the request reads and writes, without changing anything."""
        if model.cache == "automatic":
            return self._plan_automatic(model, prompt, now)
        prefixes = list(_prefixes(model, prompt)) if model.cache != "none" else []
        plan = self._plan_marked(model, prompt, prefixes, now)
        able = markable(model, prompt)
        beginnings = tuple(
            Beginning(digest=p.digest, tokens=p.tokens) for p, may in zip(prefixes, able, strict=False) if may
        )
        with self._lock:
            ideal = self._ideal.read(model, beginnings, now)
        ideal = max(
            ideal, plan.read
        )  # a place within what was written may be shorter than the least that a marker takes
        return replace(plan, ideal=ideal, beginnings=beginnings, hour=any(p.ttl == "1h" for p in prefixes))

    def _plan_marked(self, model: Model, prompt: Prompt, prefixes: list[_Prefix], now: float) -> CachePlan:
        marked = [i for i, p in enumerate(prefixes) if p.ttl and p.tokens >= model.min_cache_tokens]
        if not marked:
            return CachePlan(uncached=prompt.tokens, read=0, written_5m=0, written_1h=0)
        reach = LOOK_BACK_BLOCKS if model.cache == "claude" else 1
        with self._lock:
            hit = self._longest_hit(prefixes, marked, reach, now)
            touched = self._touched(prefixes, marked, hit, now)
        return _bill(model, prompt, prefixes, marked, hit, touched)

    def commit(self, plan: CachePlan, now: float) -> None:
        """The response has begun: what was written becomes readable, what was read lives on, each with its own TTL."""
        with self._lock:
            self._ideal.keep(plan.beginnings, now, hour=plan.hour)
            if len(self._entries) > _MANY_ENTRIES:
                self._entries = {digest: entry for digest, entry in self._entries.items() if entry.alive(now)}
            for digest, ttl in plan.touched:
                entry = self._entries.get(digest)
                if entry is not None and entry.alive(now):
                    entry.used_at = now
                else:
                    self._entries[digest] = _Entry(ttl, now)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._ideal.clear()

    def _alive(self, digest: bytes, now: float) -> bool:
        entry = self._entries.get(digest)
        return entry is not None and entry.alive(now)

    def _longest_hit(self, prefixes: list[_Prefix], marked: list[int], reach: int, now: float) -> int | None:
        for mark in reversed(marked):
            for i in range(mark, max(-1, mark - reach), -1):
                if self._alive(prefixes[i].digest, now):
                    return i
        return None

    def _touched(
        self, prefixes: list[_Prefix], marked: list[int], hit: int | None, now: float
    ) -> tuple[tuple[bytes, Ttl], ...]:
        """Every breakpoint's entry, and every live entry the hit contains: reading a prefix uses all of it."""
        read = range(0, -1 if hit is None else hit + 1)
        touched: list[tuple[bytes, Ttl]] = [
            (digest, self._entries[digest].ttl) for i in read if self._alive(digest := prefixes[i].digest, now)
        ]
        touched.extend((prefixes[i].digest, prefixes[i].ttl or "5m") for i in marked)
        return tuple(touched)

    def _plan_automatic(self, model: Model, prompt: Prompt, now: float) -> CachePlan:
        steps = list(_steps(model, prompt))
        with self._lock:
            read = max((tokens for digest, tokens in steps if self._alive(digest, now)), default=0)
        touched: tuple[tuple[bytes, Ttl], ...] = tuple((digest, "5m") for digest, _ in steps)
        return CachePlan(
            uncached=prompt.tokens - read, read=read, written_5m=0, written_1h=0, touched=touched, ideal=read
        )


def _bill(
    model: Model,
    prompt: Prompt,
    prefixes: list[_Prefix],
    marked: list[int],
    hit: int | None,
    touched: tuple[tuple[bytes, Ttl], ...],
) -> CachePlan:
    """Split at three positions: the hit, the last 1h breakpoint after it, the last breakpoint (Anthropic's A, B, C)."""
    cap = model.max_cache_tokens

    def upto(i: int | None) -> int:
        length = prefixes[i].tokens if i is not None else 0
        return length if cap is None else min(length, cap)

    read = upto(hit)
    after = [i for i in marked if hit is None or i > hit]
    long_end = max([read, *(upto(i) for i in after if prefixes[i].ttl == "1h")])
    end = max([long_end, *(upto(i) for i in after)])
    return CachePlan(
        uncached=prompt.tokens - end,
        read=read,
        written_1h=long_end - read,
        written_5m=end - long_end,
        touched=touched,
    )


def _prefixes(model: Model, prompt: Prompt) -> Iterator[_Prefix]:
    """Chain the blocks' digests, so that a change anywhere changes every later prefix."""
    digest = hashlib.sha256(model.id.encode()).digest()
    tokens = 0
    seam_passed = False
    for block in prompt.blocks:
        if block.section == "messages" and not seam_passed:
            digest = hashlib.sha256(digest + prompt.seam.encode()).digest()
            seam_passed = True
        digest = hashlib.sha256(digest + _identity(block)).digest()
        tokens += block.tokens
        yield _Prefix(digest, tokens, block.ttl)


def _identity(block: Block) -> bytes:
    return f"{block.section}\x1f{block.tag}\x1f{block.text}".encode("utf-8", "surrogatepass")


def _steps(model: Model, prompt: Prompt) -> Iterator[tuple[bytes, int]]:
    """Digests of the prompt's first 1024, 1152, 1280 ... tokens, wherever in a block they end."""
    running = hashlib.sha256(model.id.encode())
    done = 0
    for block in prompt.blocks:
        head = (f"\x1f{block.section}\x1f{block.tag}", *("" for _ in range(1, block.overhead)))
        stream = (*head[: block.overhead], *pieces(block.text))
        if not block.overhead:
            running.update(head[0].encode())
        for start, stop in _chunks(done, len(stream)):
            running.update("".join(stream[start:stop]).encode("utf-8", "surrogatepass"))
            tokens = done + stop
            if tokens % STEP_TOKENS == 0 and tokens >= model.min_cache_tokens:
                yield running.copy().digest(), tokens
        done += len(stream)


def _chunks(done: int, length: int) -> Iterator[tuple[int, int]]:
    """Cut ``length`` tokens that follow ``done`` others so that every multiple of the step ends a chunk."""
    start = 0
    while start < length:
        stop = min(length, start + STEP_TOKENS - (done + start) % STEP_TOKENS)
        yield start, stop
        start = stop
