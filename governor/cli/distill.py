"""`governor distill export`: the teacher's good runs as training data for a student, and which nodes are worth one."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from governor.cli.output import USAGE, JsonOption, emit, errors, print_table
from governor.cli.traces import error_document, read_traces
from governor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.calls import ModelRef
    from governor.distill import Chosen, Export, Label
    from governor.policy.load import LoadedPolicy
    from governor.replay import TraceError

__all__ = ["app"]

app = typer.Typer(
    name="distill", help="Training data for a student from the teacher's good runs.", no_args_is_help=True
)
_stdout = Console(highlight=False, soft_wrap=True)
_stderr = Console(highlight=False, soft_wrap=True, stderr=True)
_SHOWN_REASONS = 8
_REPORT, _REJECTED = "report.json", "rejected.jsonl"


Traces = Annotated[
    list[Path], typer.Argument(help="Files of recorded runs, as `governor replay` reads them; also gzipped.")
]
Said = Annotated[
    list[Path] | None,
    typer.Option("--outcomes", help='JSON lines {"run", "score"[, "node"][, "step"]}: what was said of the runs.'),
]
Teacher = Annotated[
    str | None,
    typer.Option("--teacher", metavar="TIER|MODEL", help="Whose answers count. Default: the policy's best tier."),
]
Student = Annotated[
    str | None,
    typer.Option("--student", metavar="TIER|MODEL", help="Whose price to compare. Default: the policy's last tier."),
]
Answered = Annotated[
    str | None, typer.Option("--model", metavar="PROVIDER:MODEL", help="Who answered where the record names none.")
]


@app.callback()
def _group() -> None:
    """Keep `export` a command of its own, though it is the only one."""


@app.command()
def export(
    traces: Traces,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to: one folder a node, and the report.")],
    outcomes: Said = None,
    reward: Annotated[
        str | None, typer.Option("--reward", help="The field of a run that is its reward. Default: the usual names.")
    ] = None,
    least: Annotated[
        float, typer.Option("--min-score", min=0, max=1, help="Lowest score of a good run or step.")
    ] = 1.0,
    where: Annotated[
        list[str] | None, typer.Option("--where", metavar="FIELD=VALUE", help="Only such runs; also != < <= > >=.")
    ] = None,
    teacher: Teacher = None,
    student: Student = None,
    model: Answered = None,
    policy: Annotated[
        str | None, typer.Option("--policy", "-p", help="A policy file: its tiers, prices and `trace.redact`.")
    ] = None,
    form: Annotated[list[str] | None, typer.Option("--format", help="bedrock, openai. Default: both.")] = None,
    turns: Annotated[
        str, typer.Option("--turns", help="Bedrock lines: single, or multi (Amazon Nova only).")
    ] = "single",
    eval_share: Annotated[float, typer.Option("--eval", min=0, max=0.9, help="Share of runs held back.")] = 0.1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what an earlier export has written.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write gold data per node and a report of which nodes are worth a student. Exit 0, or 2 when something could not be read."""
    from governor.distill import exported
    from governor.prices import PriceBook

    with errors(as_json=as_json):
        loaded = _policy(policy)
        chosen = _chosen(
            loaded,
            labels=(),
            reward=reward,
            least=least,
            where=where or [],
            teacher=teacher,
            student=student,
            model=model,
            forms=form,
            turns=turns,
            eval_share=eval_share,
        )
        _writable(out, overwrite=overwrite)
    runs, failed = read_traces(traces)
    labels, unread = _labels(outcomes or [])
    failed += unread
    with errors(as_json=as_json):
        found = exported(runs, _with_labels(chosen, labels), PriceBook(loaded.policy))
        files = _write(out, found)
        if as_json:
            emit({**_document(found, files), "errors": [error_document(error) for error in failed]})
        else:
            _show(found, files, out)
    if not as_json:
        for error in failed:
            _stderr.print(str(error), style="red", markup=False)
    if failed:
        raise typer.Exit(USAGE)


# --- what is asked for


def _policy(named: str | None) -> LoadedPolicy:
    from governor.policy.load import load

    return load(named if named is not None else {"governor": 1, "name": "distill", "tools": {"default": "allow"}})


def _chosen(loaded: LoadedPolicy, *, forms: list[str] | None, turns: str, **given: Any) -> Chosen:
    from governor.distill import Chosen, Where
    from governor.distill.export import FORMS
    from governor.redaction import KINDS
    from governor.replay.details import model_named

    unknown = [each for each in forms or () if each not in FORMS]
    if unknown:
        raise ConfigurationError(f"--format {unknown[0]}: write {' or '.join(FORMS)}.")
    if turns not in ("single", "multi"):
        raise ConfigurationError(f"--turns {turns}: write single or multi.")
    tiers = list(loaded.policy.tiers)
    teacher = given["teacher"] or (tiers[0] if len(tiers) > 1 else None)
    student = given["student"] or (tiers[-1] if len(tiers) > 1 else None)
    known = _model(loaded, student) if student else None
    kinds = dict.fromkeys((*KINDS, *loaded.policy.trace.redact))  # a kind without a pattern is an error, not a hole
    return Chosen(
        reward=given["reward"],
        least=given["least"],
        where=tuple(Where.parse(each) for each in given["where"]),
        teacher=(loaded.policy.tiers[teacher].model if teacher in loaded.policy.tiers else teacher),
        kinds=tuple(kinds),
        eval_share=given["eval_share"],
        forms=tuple(dict.fromkeys(forms or FORMS)),
        turns="multi" if turns == "multi" else "single",
        student=known,
        model=model_named(given["model"]) if given["model"] else None,
    )


def _model(loaded: LoadedPolicy, named: str) -> ModelRef:
    from governor.calls import ModelRef
    from governor.replay.details import model_named

    tier = loaded.policy.tiers.get(named)
    if tier is not None:
        return ModelRef(provider=tier.provider, model=tier.model_name)
    if ":" not in named:
        tiers = ", ".join(loaded.policy.tiers) or "none"
        raise ConfigurationError(f"{named} is neither a tier of the policy ({tiers}) nor written as provider:model.")
    return model_named(named)


def _with_labels(chosen: Chosen, labels: Sequence[Label]) -> Chosen:
    from dataclasses import replace

    return replace(chosen, labels=tuple(labels))


def _labels(paths: Sequence[Path]) -> tuple[list[Label], list[TraceError]]:
    from governor.distill import read_labels
    from governor.replay import TraceError

    labels: list[Label] = []
    failed: list[TraceError] = []
    for path in paths:
        try:
            found = read_labels(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeError) as error:
            said = getattr(error, "strerror", None) or error
            failed.append(
                TraceError(f"cannot be read: {said}", file=str(path), remedy="Check the path and its permissions.")
            )
            continue
        labels += found.labels
        failed += found.errors
    return labels, failed


# --- what is written


def _writable(out: Path, *, overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise ConfigurationError(f"--out {out} is a file: name a folder.")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise ConfigurationError(f"--out {out} is not empty: name another folder, or add --overwrite.")


def _folder(node: str) -> str:
    """A name for a node's folder: its own where it is plain, else what is plain of it and a digest."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", node).strip("-.")[:60]
    return (
        plain
        if plain == node and plain not in (_REPORT, _REJECTED)
        else f"{plain or 'node'}-{sha256(node.encode('utf-8', 'replace')).hexdigest()[:8]}"
    )


def _write(out: Path, found: Export) -> list[dict[str, Any]]:
    """Write all files; each appears whole. Gives what was written, for the report."""
    _clear(out)
    written: list[dict[str, Any]] = []
    for each in found.files:
        path = out / _folder(each.node) / f"{each.form}.{each.split}.jsonl"
        size = _put(path, b"".join(each.lines))
        row = {"node": each.node, "format": each.form, "split": each.split, "examples": len(each.lines)}
        written.append({**row, "file": str(path), "bytes": size})
    rejected = (json.dumps(each.document(), ensure_ascii=False) + "\n" for each in found.rejected)
    _put(out / _REJECTED, "".join(rejected).encode("utf-8", "replace"))
    report = json.dumps(_document(found, written), indent=2, ensure_ascii=False)
    _put(out / _REPORT, report.encode("utf-8", "replace"))
    return written


def _clear(out: Path) -> None:
    """Remove what an earlier export says that it wrote here: a node's old lines may hold what is redacted or held back now."""
    try:
        rows = json.loads((out / _REPORT).read_text(encoding="utf-8"))["files"]
        files = [out / Path(row["file"]).parent.name / Path(row["file"]).name for row in rows]
    except (OSError, ValueError, KeyError, TypeError):
        return
    for each in files:
        if each.suffix == ".jsonl" and each.resolve().is_relative_to(out.resolve()):
            each.unlink(missing_ok=True)


def _put(path: Path, content: bytes) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)
    return len(content)


def _document(found: Export, files: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "files": list(files),
        "nodes": [each.document() for each in found.worth],
        "rejected": {"examples": len(found.rejected), "reasons": dict(_reasons(found))},
        "redacted": dict(found.redacted),
        "remarks": list(found.remarks),
    }


def _reasons(found: Export) -> Sequence[tuple[str, int]]:
    """Each reason and how often, the most frequent first; which example a repetition repeats is in `rejected.jsonl`."""
    counts: dict[str, int] = {}
    for each in found.rejected:
        reason = re.sub(r"(duplicate) of .*", r"\1", each.reason, flags=re.DOTALL)
        counts[reason] = counts.get(reason, 0) + 1
    return sorted(counts.items(), key=lambda each: (-each[1], each[0]))


# --- for people


def _show(found: Export, files: Sequence[dict[str, Any]], out: Path) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("node", "calls", "runs", "in", "out", "cost", "student's", "gap", "worth"):
        table.add_column(name, justify="left" if name == "node" else "right")
    for each in found.worth:
        gap = "not known" if each.gap is None else f"{each.gap:.2f}"
        bound = "<= " if each.gap is None and each.worth is not None else ""
        counts = (f"{count:,}" for count in (each.calls, each.runs, each.prompt_tokens, each.output_tokens))
        money = (_usd(each.cost), _usd(each.student_cost))
        table.add_row(_printable(each.node), *counts, *money, gap, f"{bound}{_usd(each.worth)}")
    if found.worth:
        print_table(table)
    for row in files:
        _stdout.print(f"{row['file']}: {row['examples']:,} examples, {row['bytes']:,} bytes", markup=False)
    if found.rejected:
        _stdout.print(f"{out / 'rejected.jsonl'}: {len(found.rejected):,} not taken", markup=False)
    for reason, count in _reasons(found)[:_SHOWN_REASONS]:
        _stdout.print(f"  {count:,} x {_printable(reason)}", markup=False)
    if found.redacted:
        taken = ", ".join(f"{count:,} {kind}" for kind, count in sorted(found.redacted.items()))
        _stdout.print(f"Taken out of the text: {taken}.", markup=False)
    for remark in found.remarks:
        _stdout.print(f"- {_printable(remark)}", style="dim", markup=False)


def _usd(nano: int | None) -> str:
    from governor.ledger import Unit, shown

    return "not known" if nano is None else shown(nano, Unit.NANO_USD)


def _printable(text: str) -> str:
    """Names come from the record: half a character, or a control character, must not break the terminal."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", "?", text).encode("utf-8", "replace").decode("utf-8")
