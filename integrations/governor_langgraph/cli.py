"""`governor init` and `governor run`: a first policy from a graph's own parts, and one governed run of a graph from the shell."""

from __future__ import annotations

import asyncio
import json
import os
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console

from governor.cli.output import USAGE, VIOLATIONS, JsonOption, emit, errors, fail
from governor.errors import ConfigurationError, GovernorError, Refused, RunStopped

if TYPE_CHECKING:
    from governor_langgraph.inspect import GraphDescription
    from governor_langgraph.outcome import Ended
    from governor_otel import Node

__all__ = ["init", "run"]

Target = Annotated[
    str, typer.Argument(metavar="MODULE:GRAPH", help="A graph, or a function without arguments that builds it.")
]
_stderr = Console(highlight=False, soft_wrap=True, stderr=True)
_EXPORT_S = 2
"""Seconds that one export to a collector may take. The SDK's 10 for each signal, and again at exit, would hold up whoever waits for the
result for half a minute when the collector does not answer."""


# --- init ---------------------------------------------------------------------------------------------------------------


def init(
    target: Target,
    *,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write to this file instead of printing.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a first policy for a graph: its tools denied until you allow them, its models as tiers, limits from its size."""
    with errors(as_json=as_json):
        described, text = _first_policy(target)
        if output is not None:
            _write(output, text, force=force)
    if as_json:
        emit({**asdict(described), "size": described.size, "file": output and str(output), "policy": text})
    elif output is None:
        typer.echo(text, nl=False)
    else:
        found = f"nodes: {described.size}, tools: {len(described.tools)}, models: {len(described.models)}"
        typer.echo(f"{output}: a first policy for {described.name} ({found}). Next: governor policy check {output}")


def _first_policy(target: str) -> tuple[GraphDescription, str]:
    from governor.policy.starter import starter
    from governor_langgraph.inspect import describe
    from governor_langgraph.loading import load_graph

    described = describe(load_graph(target))
    prices = _output_prices(described.models)
    return described, starter(
        name=described.name,
        nodes=described.nodes,
        tools={tool.name: tool.description for tool in described.tools},
        models=sorted(
            described.models, key=lambda model: -(prices[model] or 0)
        ),  # the dearest is the best guess at the best
        unpriced=[model for model, price in prices.items() if price is None],
        cycles=described.cycles,
    )


def _output_prices(models: Sequence[str]) -> Mapping[str, int | None]:
    """Nano-USD per million output tokens of each model, None where nobody knows."""
    from governor.calls import ModelRef
    from governor.policy.schema import Policy
    from governor.prices import PriceBook

    book, found = PriceBook(Policy(governor=1, name="init")), dict[str, int | None]()
    for model in models:
        provider, _, name = model.partition(":")
        rates = book.rates(ModelRef(provider=provider, model=name))
        found[model] = rates and rates.output
    return found


def _write(path: Path, text: str, *, force: bool) -> None:
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigurationError(f"{path} is there already. Name another file, or --force to replace it.") from None
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {_why(error)}. Name a file in a folder that is there."
        ) from error


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


# --- run ----------------------------------------------------------------------------------------------------------------


def run(
    target: Target,
    *,
    policy: Annotated[str, typer.Option("--policy", "-p", help="A policy file, or the name of a bundled one.")],
    given: Annotated[str, typer.Option("--input", "-i", metavar="JSON", help="The graph's input; @FILE reads a file.")],
    config: Annotated[
        str, typer.Option("--config", metavar="JSON", help="`configurable` of the run: tenant, thread_id, ...")
    ] = "{}",
    store: Annotated[
        Path | None, typer.Option("--store", help="Keep ledgers and run state in this SQLite file.")
    ] = None,
    recording: Annotated[
        Path | None,
        typer.Option("--recording", help="Where to record; $GOVERNOR_RECORDER or ~/.governor/runs.db by default."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a graph once under a policy and show what it did, what it cost and what was refused. Exit 1 when the policy ended it."""
    with errors(as_json=as_json):
        values, options = _parsed(given, "--input"), _configured(config)
        app, record_rest = _governed(target, policy, store, recording)
    from governor_langgraph.outcome import document, show

    ended = _run(app, values, options)
    record_rest()  # what goes to a collector is sent while the process ends, after the result was shown
    nodes = _recorded(ended, recording)
    if as_json:
        emit(document(ended, nodes))
    else:
        show(ended, nodes)
    if ended.failure is not None:
        _report(ended.failure, as_json=as_json)
    if ended.refused is not None:
        raise typer.Exit(VIOLATIONS)


def _governed(target: str, policy: str, store: Path | None, recording: Path | None) -> tuple[Any, Callable[[], bool]]:
    """The governed graph, and what records its spans that are still buffered.

    Raises GovernorError or ImportError before anything has run or been paid.
    """
    from governor.stores.sqlite import SqliteStore
    from governor_langgraph.graph import govern
    from governor_langgraph.loading import load_graph
    from governor_otel import default_path, record, setup
    from governor_otel.recorder import open_recording

    ledgers = SqliteStore(store) if store else None
    if ledgers is not None:
        ledgers.halts()  # better to learn here that the file is none than as a run that was stopped
    app = govern(load_graph(target), policy, store=ledgers)
    with open_recording(recording or default_path(), create=True):
        pass  # better to learn that it cannot be written now than after the money is spent
    return app, record(setup(recorder=False, timeout_s=_EXPORT_S), recording).force_flush


def _parsed(text: str, option: str) -> Any:
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{option}: {text[1:]} cannot be read: {_why(error)}.") from error
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigurationError(
            f"{option} is not JSON: {error}. Write it like '{{\"messages\": []}}', or @FILE."
        ) from error


def _configured(text: str) -> dict[str, Any]:
    """A run's config. Its `configurable` part may be given alone."""
    parsed = _parsed(text, "--config")
    if not isinstance(parsed, dict):
        raise ConfigurationError('--config is not an object. Write it like \'{"tenant": "acme"}\'.')
    given = cast("dict[str, Any]", parsed)
    return given if "configurable" in given else {"configurable": given}


def _run(app: Any, values: Any, options: dict[str, Any]) -> Ended:
    from governor_langgraph.outcome import Ended
    from governor_langgraph.stops import watch

    with watch() as reports:
        try:
            result = asyncio.run(app.ainvoke(values, options)) if _is_async(app) else app.invoke(values, options)
        except Refused as refusal:
            partial = refusal.partial if isinstance(refusal, RunStopped) else None
            return Ended(report=reports[-1] if reports else None, result=partial, refused=refusal.reason)
        except Exception as error:  # noqa: BLE001 - the graph's own, whatever it is: shown with its traceback
            return Ended(report=reports[-1] if reports else None, failure=error)
    report = reports[-1]
    return Ended(report=report, result=result, refused=report.stopped)


def _is_async(graph: Any) -> bool:
    """Whether a node has an async function only: such a graph cannot be invoked, others can."""
    bounds = [node.bound for node in graph.nodes.values()]
    nested = [inner for node in graph.nodes.values() for inner in node.subgraphs if hasattr(inner, "nodes")]
    alone = any(getattr(bound, "func", True) is None and getattr(bound, "afunc", None) for bound in bounds)
    return alone or any(map(_is_async, nested))


def _report(failure: Exception, *, as_json: bool) -> None:
    """An error of the graph's own is shown with its traceback, for it is its author who reads it; one of governor's is a sentence."""
    if as_json or isinstance(failure, GovernorError):
        fail(failure, USAGE, as_json=as_json)
    _stderr.print("".join(traceback.format_exception(failure)), markup=False, end="")
    raise typer.Exit(USAGE)


def _recorded(ended: Ended, recording: Path | None) -> Sequence[Node] | None:
    """The run's spans. None when there are none, and why on stderr: it takes nothing from the run, but the run was not free of cost."""
    from governor_otel import disabled, read_run

    if ended.report is None:
        return ()
    try:
        return read_run(ended.report.run.id, recording)
    except GovernorError as error:
        sampler = os.environ.get("OTEL_TRACES_SAMPLER")
        why = str(error)
        if disabled():
            why = "OTEL_SDK_DISABLED is true. Unset it to see them."
        elif sampler:
            why = f"{error} OTEL_TRACES_SAMPLER={sampler} may have left it out."
        _stderr.print(
            f"nothing was recorded of this run, so its steps and its cost are not known here: {why}",
            style="yellow",
            markup=False,
        )
        return None
