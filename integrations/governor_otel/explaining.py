"""`governor explain`: why a step of a recorded run went where it went, with every number that entered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from governor.cli.output import JsonOption, emit, errors, print_table
from governor.errors import ConfigurationError
from governor_otel.reading import Node, read_run

__all__ = ["Explained", "calls_of", "explain", "explained"]

_EVIDENCE = "governor.evidence."
_LISTED = 40
"""Most calls that an error lists."""
_stdout = Console(highlight=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One model call of a run, as it is explained."""

    number: int
    """Which model call of the run, from 1, in order of start."""
    path: str
    """Of its node."""
    span: str
    tier: str
    model: str
    cost_nano_usd: int
    decisions: Sequence[Mapping[str, Any]]

    @property
    def routed(self) -> Mapping[str, Any] | None:
        """The decision of routing that held in the end: a budget or a full rate may come after the first."""
        found = [each for each in self.decisions if each.get("governor.control") == "route"]
        judged = [each for each in found if each.get("governor.reason.code") != "route.signal"]
        return judged[-1] if judged else None


def explain(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Id of a run, or the beginning of one.")],
    step: Annotated[
        str, typer.Argument(metavar="STEP", help="Number of a model call in the run, or the node that made it.")
    ],
    *,
    recording: Annotated[
        Path | None,
        typer.Option("--recording", help="The recording; $GOVERNOR_RECORDER or ~/.governor/runs.db by default."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Explain why a step was answered by its tier: every decision of the call, and every number that entered it."""
    with errors(as_json=as_json):
        found = explained(read_run(run, recording), step)
    if as_json:
        emit([_as_json(each) for each in found])
        return
    for each in found:
        _print(each)


def calls_of(nodes: Sequence[Node]) -> list[Explained]:
    """The model calls of a run in order of start."""
    spans = sorted((each for node in nodes for each in _chats(node)), key=lambda pair: pair[0].start_ns)
    return [_explained(number, node, path) for number, (node, path) in enumerate(spans, 1)]


def explained(nodes: Sequence[Node], step: str) -> list[Explained]:
    """The calls that `step` names: by number, by the beginning of a span's id, or by node (then all that it made).

    Raises ConfigurationError naming what there is.
    """
    calls = calls_of(nodes)
    found = [each for each in calls if str(each.number) == step]
    found = found or [each for each in calls if step in (each.path, each.path.rpartition("/")[2])]
    found = found or [each for each in calls if len(step) >= 4 and each.span.startswith(step)]
    if found:
        return found
    if not calls:
        raise ConfigurationError("this run made no model call: there is nothing to explain.")
    listed = ", ".join(f"{each.number} {each.path}" for each in calls[:_LISTED])
    more = f" and {len(calls) - _LISTED} more" if len(calls) > _LISTED else ""
    raise ConfigurationError(f"no model call of this run is {step!r}. There is: {listed}{more}.")


def _chats(node: Node, path: str = "") -> Iterator[tuple[Node, str]]:
    path = str(node.attributes.get("governor.step.path", path))
    if node.attributes.get("gen_ai.operation.name") == "chat":
        yield node, path
    for child in node.children:
        yield from _chats(child, path)


def _explained(number: int, node: Node, path: str) -> Explained:
    attributes = node.attributes
    model = attributes.get("gen_ai.response.model") or attributes.get("gen_ai.request.model", "")
    decided = next((str(each["governor.step.path"]) for each in node.decisions if "governor.step.path" in each), path)
    return Explained(
        number=number,
        path=decided or "?",
        span=node.id,
        tier=str(attributes.get("governor.tier", "")),
        model=str(model),
        cost_nano_usd=int(attributes.get("governor.cost_nano_usd", 0)),
        decisions=node.decisions,
    )


def _numbers(decision: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(_EVIDENCE): value for name, value in decision.items() if name.startswith(_EVIDENCE)}


def _as_json(call: Explained) -> Mapping[str, Any]:
    decisions = [
        {
            "control": each.get("governor.control"),
            "verdict": each.get("governor.verdict"),
            "code": each.get("governor.reason.code"),
            "rule": each.get("governor.rule"),
            "text": each.get("governor.reason"),
            "evidence": _numbers(each),
        }
        for each in call.decisions
    ]
    return {
        "call": call.number,
        "node": call.path,
        "span": call.span,
        "tier": call.tier,
        "model": call.model,
        "cost_nano_usd": call.cost_nano_usd,
        "decisions": decisions,
    }


def _print(call: Explained) -> None:
    by = f"[cyan]{escape(call.tier)}[/cyan] {escape(call.model)}" if call.tier else escape(call.model)
    _stdout.print(
        f"[bold]call {call.number}, {escape(call.path)}[/bold]: {by}, {_shown('x_nano_usd', call.cost_nano_usd)}"
    )
    table = Table(box=None, pad_edge=False)
    for name in ("control", "verdict", "code", "rule", "reason"):
        table.add_column(name)
    for each in call.decisions:
        names = ("governor.control", "governor.verdict", "governor.reason.code", "governor.rule", "governor.reason")
        table.add_row(*(escape(str(each.get(name, ""))) for name in names))
    print_table(table)
    routed = call.routed
    numbers = {} if routed is None else _numbers(routed)
    if not numbers:
        _stdout.print("No number entered the choice of the tier: a rule or the default said it.\n")
        return
    entered = Table(box=None, pad_edge=False)
    entered.add_column("what entered the choice of the tier")
    entered.add_column("", justify="right")
    for name, value in numbers.items():
        entered.add_row(escape(name.removesuffix("_nano_usd").replace("_", " ")), escape(_shown(name, value)))
    print_table(entered)
    _stdout.print()


def _shown(name: str, value: object) -> str:
    if name.endswith("_nano_usd") and isinstance(value, int):
        sign = "-" if value < 0 else ""
        return f"{sign}${abs(value) // 1_000_000_000}.{abs(value) % 1_000_000_000 // 1000:06d}"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
