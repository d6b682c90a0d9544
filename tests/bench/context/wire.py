"""The benchmark's figures held against a provider's own bill: whole recorded runs through real clients and the sandbox.

make bench-context-wire CORPUS=dir RUNS=30 JSON=file

Each run is replayed twice: call by call through a governed LangGraph graph and a client class (`replayed`), billed by the sandbox,
which shares no code with governor or with this benchmark; and by the benchmark's simulator (`ours`, `accounting`). Both count text
with the sandbox's tokenizer. `ratio` gives the simulator the provider's rules too (the framing of messages, calls and tools, where
markers may stand, minimum and look-back), so that prompts and accounting alone are compared. `as benchmarked` is the simulator as
the benchmark uses it.

Exits with 1 when a request was refused, held a tool result without its call or not the task, or when an answer did not arrive as
recorded. Runs whose own prompts a strict provider refuses, whoever sends them, are not chosen (`replayed.sound`); the output says
how many. Arguments that are no JSON object are sent as `{"_raw": text}`. The calls of a run's last answer, to which nobody
replied, are in no prompt.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from rich.console import Console
from rich.table import Table

from governor.calls import ModelRef
from governor_sandbox import Sandbox
from governor_sandbox.catalogue import Catalogue
from governor_sandbox.meter import Usage
from governor_sandbox.prompt import MESSAGE_OVERHEAD, compact_json
from governor_sandbox.tokens import count
from tests.bench.context.accounting import PRICES, Bill, Cache, Price
from tests.bench.context.corpus import Item, Run, Sizes, run_of, runs_in
from tests.bench.context.ours import Ours, moments
from tests.bench.context.replayed import OUTPUT, Replayed, Studio, normalised, sound
from tests.vendors.clients import CLIENTS

__all__ = ["FAMILIES", "Compared", "chosen", "compared", "summed"]

_TTL = 300.0
"""Seconds that the policy's `5m` entries live."""


@dataclass(frozen=True, slots=True)
class Family:
    """One provider's protocol, with the price model whose model speaks it."""

    provider: str
    model: str
    price: Price
    tool: Callable[[Mapping[str, Any]], object]
    """A function schema as the provider counts it."""
    dumps: Callable[[object], str] = compact_json
    """How a call's arguments are counted."""
    system: int = 0
    """Framing tokens of the system text."""
    joins: bool = True
    """Whether messages of one side in a row are one turn."""

    @property
    def ref(self) -> ModelRef:
        """The model as governor knows it."""
        return ModelRef(provider="bedrock_converse" if self.provider == "bedrock" else self.provider, model=self.model)

    def client(self, box: Sandbox) -> BaseChatModel:
        """The client class of the protocol."""
        return CLIENTS[self.provider](box, model=self.model, max_tokens=OUTPUT)

    def dollars(self, usage: Usage) -> float:
        """Input and cache of a request at the sandbox's own prices."""
        spec = Catalogue.standard().find(self.model, self.provider)
        assert spec is not None
        return replace(usage, output=0).cost(spec.price) / 1e9


_BY_NAME = {price.name: price for price in PRICES}


def _anthropic(schema: Mapping[str, Any]) -> object:
    return {"name": schema["name"], "description": schema["description"], "input_schema": schema["parameters"]}


def _bedrock(schema: Mapping[str, Any]) -> object:
    inner = {"json": schema["parameters"]}
    return {"toolSpec": {"name": schema["name"], "description": schema["description"], "inputSchema": inner}}


def _spaced(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


_NOVA = _BY_NAME["nova pro"]._replace(minimum=1_024, lookback=1)
"""As the sandbox has it: AWS's minimum, and no looking back. The benchmark's price model is the design notes'."""
FAMILIES = {
    "anthropic": Family("anthropic", "claude-sonnet-4-5", _BY_NAME["sonnet"], _anthropic),
    "bedrock": Family("bedrock", "anthropic.claude-sonnet-4-5-20250929-v1:0", _BY_NAME["sonnet"], _bedrock),
    "bedrock, Nova": Family("bedrock", "amazon.nova-pro-v1:0", _NOVA, _bedrock),
    "openai": Family("openai", "gpt-5", _BY_NAME["gpt 0.1x"], dict, _spaced, MESSAGE_OVERHEAD, joins=False),
}


class Framed(Sizes):
    """Sizes of a prompt's parts as the sandbox bills them, each message as a turn of its own (`_Turns` joins them)."""

    def __init__(self, family: Family) -> None:
        """Text is counted by the sandbox's tokenizer."""
        super().__init__(count)
        self._family = family

    def message(self, text: str, calls: Sequence[Mapping[str, Any]]) -> int:
        """Tokens of one message with its tool calls."""
        named = (call["function"] for call in calls)
        return MESSAGE_OVERHEAD + count(text) + sum(count(f"{each['name']}{each['arguments']}") for each in named)

    def static(self, system: str, tools: Sequence[Mapping[str, Any]]) -> int:
        """Tokens of system text and tools."""
        offered = sum(count(compact_json(self._family.tool(tool["function"]))) for tool in tools)
        return offered + (count(system) + self._family.system if system else 0)


@dataclass(frozen=True, slots=True)
class Compared:
    """One run, on the wire and in the simulator."""

    run: Run
    seen: Replayed
    meter: float
    """Dollars of input and cache by the sandbox's meter."""
    simulated: float
    """The same by the simulator, under the provider's rules."""
    own: float
    """The same as the benchmark has it."""
    tokens: Mapping[str, Sequence[int]]
    """Uncached, written and read tokens of the meter and of the simulator."""
    apart: Sequence[tuple[int, Sequence[int], Sequence[int]]]
    """Calls that the two split otherwise: number, meter's split, simulator's."""


def chosen(runs: Sequence[Run], wanted: int) -> list[Run]:
    """So many runs, evenly from every source and from its short runs to its long ones. The same at every time."""
    sources: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: (len(run.calls), run.id)):
        sources.setdefault(run.source, []).append(run)
    quotas = dict.fromkeys(sorted(sources), 0)
    left = min(wanted, len(runs))
    while left:
        for source in quotas:
            if left and quotas[source] < len(sources[source]):
                quotas[source] += 1
                left -= 1
    return [
        sources[source][(2 * i + 1) * len(sources[source]) // (2 * quota)]
        for source, quota in quotas.items()
        for i in range(quota)
    ]


def compared(studio: Studio, family: Family, run: Run) -> Compared:
    """Replay a run on the wire and in the simulator."""
    plain = normalised(run, family.dumps)
    seen = studio.replay(plain)
    bill, splits = _simulated(plain, family, exact=True)
    usages = [record.usage for record in seen.records]
    metered = [(each.uncached, each.cache_write, each.cache_read) for each in usages]
    pairs = enumerate(zip(metered, splits, strict=False))
    return Compared(
        run=run,
        seen=seen,
        meter=sum(family.dollars(each) for each in usages),
        simulated=bill.input,
        own=_simulated(plain, family, exact=False)[0].input,
        tokens={"meter": _sums(metered), "simulator": _sums(splits)},
        apart=[(call, ours, theirs) for call, (ours, theirs) in pairs if ours != theirs],
    )


def _simulated(run: Run, family: Family, *, exact: bool) -> tuple[Bill, list[tuple[int, int, int]]]:
    """Bill and splits of each call; `exact`: by the provider's rules, else as the benchmark has them."""
    sizes = Framed(family) if exact else Sizes(count)
    row = {"id": run.id, "source": run.source, "system": run.system, "tools": run.tools, "messages": run.messages}
    sized = replace(run_of(row, sizes), times=run.times)
    price = family.price if exact else _BY_NAME[family.price.name]
    bill, cache, splits = Bill(), Cache(price, _TTL), list[tuple[int, int, int]]()
    turns = _Turns()
    for request, now in zip(Ours(count, sizes=sizes, model=family.ref)(sized, price), moments(run), strict=True):
        items = turns.joined(request.items) if exact and family.joins else request.items
        splits.append(cache.send(items, request.marks, now / 1_000))
        bill.add(price, splits[-1])
    return bill, splits


class _Turns:
    """What the protocol makes of a request's items: turns."""

    def __init__(self) -> None:
        self._bare: dict[Item, Item] = {}

    def joined(self, items: Sequence[Item]) -> list[Item]:
        """Without the framing of those that continue a turn: what users and tools say in a row is one.

        The same object for the same item: only then is it the same bytes.
        """
        found = list(items[:1])  # system text and tools
        says = [item.role == "assistant" for item in items[1:]]
        for at, item in enumerate(items[1:]):
            continues = at > 0 and says[at] == says[at - 1]
            bare = replace(item, tokens=item.tokens - MESSAGE_OVERHEAD)
            found.append(self._bare.setdefault(item, bare) if continues else item)
        return found


def _sums(splits: Sequence[Sequence[int]]) -> list[int]:
    return [sum(split[i] for split in splits) for i in range(3)]


def summed(found: Sequence[Compared]) -> dict[str, Any]:
    """Sums over runs; the worst is the one whose two bills are furthest apart."""
    worst = max(found, key=lambda each: abs(each.meter / each.simulated - 1))
    meter, simulated = sum(each.meter for each in found), sum(each.simulated for each in found)
    return {
        "runs": len(found),
        "calls": sum(len(each.seen.records) for each in found),
        "rejected": sum(each.seen.rejected for each in found),
        "orphans": sum(each.seen.orphans for each in found),
        "lost tasks": sum(each.seen.lost for each in found),
        "altered or unsent": sum(each.seen.altered + each.seen.unsent for each in found),
        "in$ meter": meter,
        "in$ simulator": simulated,
        "ratio": meter / simulated,
        "as benchmarked": meter / sum(each.own for each in found),
        "worst run": worst.meter / worst.simulated,
        "worst run's id": worst.run.id,
    }


def _rows(found: Sequence[Compared]) -> dict[str, Sequence[Compared]]:
    sources = sorted({each.run.source for each in found})
    return {"all": found, **{source: [each for each in found if each.run.source == source] for source in sources}}


def _show(family: str, found: Sequence[Compared]) -> Table:
    table = Table(title=f"{family}: {FAMILIES[family].model}")
    for name, rows in _rows(found).items():
        cells = summed(rows)
        if not table.columns:
            for column in ("", *cells):
                table.add_column(column, overflow="fold")
        table.add_row(name, *(f"{each:.4f}" if isinstance(each, float) else str(each) for each in cells.values()))
    return table


def _written(found: Sequence[Compared]) -> dict[str, Any]:
    runs = [
        {
            **summed([each]),
            "tokens": dict(each.tokens),
            "calls apart": len(each.apart),
            "first apart": each.apart[:3],
            "errors": [record.error for record in each.seen.records if record.error],
        }
        for each in found
    ]
    return {"groups": {name: summed(rows) for name, rows in _rows(found).items()}, "runs": runs}


def main() -> None:
    """Replay, compare, print; exit with 1 when something was refused or missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--family", choices=["anthropic", "bedrock", "openai", "all"], default="all")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.runs < 1:
        parser.error(f"--runs {options.runs}: at least 1")
    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")  # boto3 looks for credentials there
    try:
        runs = list(runs_in(options.corpus, len))
    except FileNotFoundError as error:
        raise SystemExit(str(error)) from None
    usable = [run for run in runs if sound(run)]
    if not usable:
        raise SystemExit(f"no run in {options.corpus} has prompts that a strict provider takes")
    picked, console, written, faults = chosen(usable, options.runs), Console(width=200), dict[str, Any](), 0
    console.print(f"{len(picked)} of {len(runs)} runs; {len(runs) - len(usable)} left out: refused as recorded")
    for name, family in FAMILIES.items():
        if options.family not in (family.provider, "all"):
            continue
        with Studio(family.client) as studio:
            found = [compared(studio, family, run) for run in picked]
        console.print(_show(name, found))
        written[name] = _written(found)
        faults += sum(each.seen.faults for each in found)
    if options.json:
        options.json.write_text(json.dumps(written, indent=2))
    raise SystemExit(1 if faults else 0)


if __name__ == "__main__":
    main()
