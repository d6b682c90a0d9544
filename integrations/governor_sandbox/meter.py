"""The sandbox's own bill: one record per request, amounts in integer nano-USD, rounded up per request."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from governor_sandbox.catalogue import Price

Outcome = Literal["ok", "rejected", "faulted", "aborted"]
"""``rejected``: refused before a token was spent; ``faulted``: failed on demand; ``aborted``: the client left early."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one request. The four kinds of input are disjoint; ``reasoning`` is a part of ``output``."""

    uncached: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    output: int = 0
    reasoning: int = 0

    @property
    def input(self) -> int:
        """The whole input, cached or not."""
        return self.uncached + self.cache_read + self.cache_write_5m + self.cache_write_1h

    @property
    def cache_write(self) -> int:
        """Tokens written to the cache, of either lifetime."""
        return self.cache_write_5m + self.cache_write_1h

    def __add__(self, other: Usage) -> Usage:
        """Sum, kind by kind."""
        return Usage(
            uncached=self.uncached + other.uncached,
            cache_read=self.cache_read + other.cache_read,
            cache_write_5m=self.cache_write_5m + other.cache_write_5m,
            cache_write_1h=self.cache_write_1h + other.cache_write_1h,
            output=self.output + other.output,
            reasoning=self.reasoning + other.reasoning,
        )

    def cost(self, price: Price) -> int:
        """What these tokens cost, in nano-USD, rounded up once."""
        pico = (
            self.uncached * price.input
            + self.cache_read * price.cache_read
            + self.cache_write_5m * price.cache_write_5m
            + self.cache_write_1h * price.cache_write_1h
            + self.output * price.output
        )
        return -(-pico // 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One request as the provider saw it, including those it refused."""

    seq: int
    """1-based order of arrival."""
    provider: str
    model: str
    """As the client wrote it, regional prefix and all."""
    operation: str
    stream: bool = False
    status: int = 200
    outcome: Outcome = "ok"
    error: str | None = None
    """The provider's message when refused or failed."""
    usage: Usage = Usage()
    ideal_tokens: int = 0
    """Of the input, what an ideal prompt cache would have read."""
    nano_usd: int = 0
    label: str = ""
    """The phase set by `Meter.mark`, independent of anything the client sends."""
    rule: str | None = None
    """The scenario rule that answered."""
    step: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    """What the client tagged the request with (Bedrock ``requestMetadata``, OpenAI and Anthropic ``metadata``)."""
    gateway: str | None = None
    """The gateway that it came by."""

    def as_json(self) -> dict[str, Any]:
        """Flat, for ``GET /_sandbox/requests``."""
        row = asdict(self)
        tokens = {f"{kind}_tokens": n for kind, n in row.pop("usage").items()}
        return {**row, "input_tokens": self.usage.input, **tokens}


@dataclass(frozen=True, slots=True, kw_only=True)
class BillLine:
    """Everything one model cost. ``requests`` counts completions that were billed, not refusals."""

    model: str
    requests: int
    usage: Usage
    nano_usd: int
    ideal_tokens: int = 0
    """What an ideal prompt cache would have read."""
    read_of_ideal_tokens: int = 0
    """Of these, what was read: no request counts for more than its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What the provider charges: a line per model, dearest first."""

    lines: tuple[BillLine, ...]

    @property
    def nano_usd(self) -> int:
        """The total."""
        return sum(line.nano_usd for line in self.lines)

    @property
    def requests(self) -> int:
        """Billed requests."""
        return sum(line.requests for line in self.lines)

    @property
    def usage(self) -> Usage:
        """All tokens."""
        return sum((line.usage for line in self.lines), Usage())

    @property
    def ideal_tokens(self) -> int:
        """What an ideal prompt cache would have read."""
        return sum(line.ideal_tokens for line in self.lines)

    @property
    def read_of_ideal_tokens(self) -> int:
        """Of these, what was read."""
        return sum(line.read_of_ideal_tokens for line in self.lines)

    def as_json(self) -> dict[str, Any]:
        """For ``GET /_sandbox/bill`` and ``--json``."""
        return {
            "nano_usd": self.nano_usd,
            "usd": self.nano_usd / 1e9,
            "requests": self.requests,
            "models": [
                {
                    "model": x.model,
                    "requests": x.requests,
                    "nano_usd": x.nano_usd,
                    "ideal_tokens": x.ideal_tokens,
                    "read_of_ideal_tokens": x.read_of_ideal_tokens,
                    **_tokens(x.usage),
                }
                for x in self.lines
            ],
            "ideal_tokens": self.ideal_tokens,
            "read_of_ideal_tokens": self.read_of_ideal_tokens,
            **_tokens(self.usage),
        }


class Meter:
    """Collects records from many threads and adds them up."""

    def __init__(self) -> None:
        """Start with an empty bill and no label."""
        self._changed = threading.Condition()
        self._records: dict[int, Record] = {}
        self._marks: dict[str, int] = {}
        self._label = ""
        self._seq = 0
        self._epoch = 0
        self._open = 0

    def arrive(self) -> tuple[int, str, int]:
        """Number a new request; returns its seq, the current label and the epoch, for `file` and `depart`."""
        with self._changed:
            self._seq += 1
            self._open += 1
            return self._seq, self._label, self._epoch

    def file(self, record: Record, epoch: int) -> None:
        """Put a record in the books, replacing an earlier one of the same request; one from before a reset is dropped."""
        with self._changed:
            if epoch == self._epoch:
                self._records[record.seq] = record

    def depart(self, epoch: int) -> None:
        """The request is over, whatever became of it."""
        with self._changed:
            if epoch == self._epoch:
                self._open -= 1
            self._changed.notify_all()

    def wait_idle(self, timeout_s: float = 10.0) -> bool:
        """Wait until no request is being served, so that an aborted stream is on the bill; False on timeout."""
        with self._changed:
            return self._changed.wait_for(lambda: self._open <= 0, timeout_s)

    def mark(self, label: str) -> int:
        """Begin a phase: later requests carry this label. Returns a position for `since`."""
        with self._changed:
            self._label = label
            self._marks[label] = self._seq
            return self._seq

    @property
    def records(self) -> tuple[Record, ...]:
        """All records in order of arrival."""
        return self.since(0)

    def since(self, mark: int | str) -> tuple[Record, ...]:
        """Records of requests that arrived after a mark, given by position or by label.

        Raises:
            KeyError: No phase of that name was begun.
        """
        with self._changed:
            start = self._marks[mark] if isinstance(mark, str) else mark
            return tuple(self._records[seq] for seq in sorted(self._records) if seq > start)

    def labelled(self, label: str) -> tuple[Record, ...]:
        """Records that arrived while this label was set."""
        return tuple(record for record in self.records if record.label == label)

    def bill(self, records: Iterable[Record] | None = None) -> Bill:
        """The bill for some records, by default all of them."""
        billed: dict[str, list[Record]] = {}
        for record in self.records if records is None else records:
            if record.operation == "complete" and record.usage.input:
                billed.setdefault(record.model, []).append(record)
        lines = [
            BillLine(
                model=model,
                requests=len(rows),
                usage=sum((row.usage for row in rows), Usage()),
                nano_usd=sum(row.nano_usd for row in rows),
                ideal_tokens=sum(row.ideal_tokens for row in rows),
                read_of_ideal_tokens=sum(min(row.ideal_tokens, row.usage.cache_read) for row in rows),
            )
            for model, rows in billed.items()
        ]
        return Bill(lines=tuple(sorted(lines, key=lambda line: (-line.nano_usd, line.model))))

    def reset(self) -> None:
        """Empty books; requests still in flight are not recorded any more."""
        with self._changed:
            self._records.clear()
            self._marks.clear()
            self._label, self._seq, self._open = "", 0, 0
            self._epoch += 1
            self._changed.notify_all()


def _tokens(usage: Usage) -> dict[str, int]:
    return {"input_tokens": usage.input, **{f"{kind}_tokens": n for kind, n in asdict(usage).items()}}
