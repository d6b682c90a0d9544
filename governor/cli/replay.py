"""`governor replay`: where each control of a policy would have acted in recorded runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from governor.cli.output import USAGE, VIOLATIONS, JsonOption, emit, errors, print_table
from governor.cli.traces import error_document, read_traces
from governor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from governor.policy.load import LoadedPolicy
    from governor.replay import Act, Judged

__all__ = ["replay"]

_STYLE = {"stop": "bold red", "deny": "red", "ask": "magenta", "nudge": "yellow", "modify": "cyan"}
_TO_THE_END = (
    "A replay follows the recorded run to its end: what the agent would have done after an intervention is not known."
)
_stdout = Console(highlight=False, soft_wrap=True)
_stderr = Console(highlight=False, soft_wrap=True, stderr=True)


def replay(
    traces: Annotated[
        list[Path],
        typer.Argument(help="Files of recorded runs: message JSONL (OpenAI, LangChain) or a recording; also gzipped."),
    ],
    *,
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy",
            "-p",
            help="A policy file, or the name of a bundled one. Default: loop protection, every tool allowed.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="PROVIDER:MODEL", help="The model that answered, where the record names none."),
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", metavar="NAME=VALUE", help="Whom the runs were for, as in tenant=acme."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 1 when a run would have been denied a call or stopped.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show where each control would have acted in recorded runs. Exit 0, with --strict 1 on a hard act, 2 for what cannot be read."""
    from governor.replay import Replay, summary
    from governor.replay.details import model_named

    with errors(as_json=as_json):
        loaded = _policy(policy)
        judge = Replay(loaded, model=model_named(model) if model else None, scopes=_scopes(scope or []))
    runs, failed = read_traces(traces)
    judged = [judge.judge(run) for run in runs]
    if as_json:
        emit(
            {
                "policy": {"name": loaded.policy.name, "hash": loaded.hash},
                "follows_record": _TO_THE_END,
                "runs": [each.document() for each in judged],
                "summary": summary(judged),
                "errors": [error_document(error) for error in failed],
            }
        )
    else:
        _show(judged, loaded, summary(judged))
        for error in failed:
            _stderr.print(str(error), style="red", markup=False)
    if failed:
        raise typer.Exit(USAGE)
    if strict and any(each.first_hard for each in judged):
        raise typer.Exit(VIOLATIONS)


def _policy(named: str | None) -> LoadedPolicy:
    from governor.policy.load import load

    return load(named if named is not None else {"governor": 1, "name": "replay", "tools": {"default": "allow"}})


def _scopes(given: Sequence[str]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not (name and equals and value):
            raise ConfigurationError(f"--scope {each}: write a name and a value, as in --scope tenant=acme.")
        found[name] = value
    return found


# --- for people


def _show(judged: Sequence[Judged], loaded: LoadedPolicy, whole: Mapping[str, Any]) -> None:
    for each in judged:
        _run(each)
    if not judged:
        return
    table = Table(box=None, pad_edge=False)
    for name in ("control", "verdict", "acts", "in runs"):
        table.add_column(name, justify="left" if name in ("control", "verdict") else "right")
    for row in whole["acts"]:
        table.add_row(row["control"], _verdict(row["verdict"]), f"{row['acts']:,}", f"{row['runs']:,}")
    _stdout.print(
        f"summary: {_many(whole['runs'], 'run')} under policy {loaded.policy.name}", style="bold", markup=False
    )
    if whole["acts"]:
        print_table(table)
    else:
        _stdout.print("No control would have acted.")
    for line in _sums(whole):
        _stdout.print(line, markup=False)


def _sums(whole: Mapping[str, Any]) -> Iterator[str]:
    if whole["only_recorded"]:
        yield f"{_many(whole['only_recorded'], 'act')} of rules that only observe, not counted above."
    after = whole["after_first_hard"]
    if whole["runs_with_a_hard_act"]:
        yield (
            f"{_many(whole['runs_with_a_hard_act'], 'run')} with a hard act (deny, stop). After the first one came {_amount(after)}"
            f" of {_amount(whole)}."
        )
    if whole["tokens_left_out_by_cuts"]:
        yield f"Cuts would have left out {whole['tokens_left_out_by_cuts']:,} tokens of the prompts at which they were made."
    yield _TO_THE_END


def _run(judged: Judged) -> None:
    run = judged.run
    amount = _amount({"tokens": judged.tokens, "nano_usd": judged.nano_usd})
    estimated = f", {judged.estimated} of them estimated" if judged.estimated else ""
    _stdout.print(
        f"{run.file}: run {run.name}: {judged.steps} steps, {_many(judged.model_calls, 'model call')}{estimated},"
        f" {_many(judged.tool_calls, 'tool call')}, {amount}",
        style="bold",
        markup=False,
    )
    if judged.acts:
        table = Table(box=None, pad_edge=False)
        table.add_column("step", justify="right")
        for name in ("control", "verdict", "reason"):
            table.add_column(name)
        for act in judged.acts:
            table.add_row(
                str(act.step), act.control, _verdict(act.verdict, enforced=act.enforced), escape(_reason(act))
            )
        print_table(table)
    else:
        _stdout.print("no control would have acted")
    for sentence in judged.unjudged:
        _stdout.print(f"- {sentence}", style="dim", markup=False)
    _stdout.print()


def _reason(act: Act) -> str:
    again = f" ({act.times}x, to step {act.last_step})" if act.times > 1 else ""
    return f"{_printable(act.text)}{again} [{act.rule}]"


def _verdict(verdict: str, *, enforced: bool = True) -> str:
    style = _STYLE.get(verdict, "")
    shown = verdict if enforced else f"{verdict}, recorded only"
    return f"[{style}]{shown}[/]" if style else shown


def _amount(amounts: Mapping[str, Any]) -> str:
    from governor.ledger import Unit, shown

    nano = amounts["nano_usd"]
    money = "money not known" if nano is None else shown(nano, Unit.NANO_USD)
    return f"{amounts['tokens']:,} tokens ({money})"


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _printable(text: str) -> str:
    """Names of tools come from the record: half a character, or a control character, must not break the terminal."""
    return json.loads(json.dumps(text).replace("\\u001b", "?")).encode("utf-8", "replace").decode("utf-8")
