"""From recorded runs to the lines of each file: chosen, redacted, without repetitions, valid, and split by run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from governor.distill import bedrock, openai
from governor.distill.dialogue import Dialogue, Rejected, Said, dialogue
from governor.distill.duplicates import NEAR, Texts, repeated
from governor.distill.labels import Label, Where, by_run, labelled
from governor.distill.worth import Worth, worth
from governor.redaction import KINDS, Redactor

if TYPE_CHECKING:
    from governor.calls import ModelRef
    from governor.prices import PriceBook
    from governor.replay import Recorded

__all__ = ["FORMS", "Chosen", "Export", "Lines", "exported", "held_back"]

Form = Literal["bedrock", "openai"]
FORMS: tuple[Form, ...] = ("bedrock", "openai")
_RULES: Mapping[str, ModuleType] = {"bedrock": bedrock, "openai": openai}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What is exported and how."""

    labels: Sequence[Label] = ()
    reward: str | None = None
    """The fact of a run that is its reward. None: the first of `labels.REWARDS`."""
    least: float = 1.0
    """The lowest score of a good run or step."""
    where: Sequence[Where] = ()
    teacher: str | None = None
    """`provider:model` whose answers count, with `*`; None is any."""
    kinds: Sequence[str] = tuple(KINDS)
    """What is redacted."""
    eval_share: float = 0.1
    """How much is held back to evaluate the student."""
    near: float = NEAR
    forms: Sequence[str] = FORMS
    turns: Literal["single", "multi"] = "single"
    """Of Bedrock's lines: `multi` is for Amazon Nova students alone."""
    student: ModelRef | None = None
    """Whose price is compared."""
    model: ModelRef | None = None
    """The model that answered where the record names none."""
    gaps: Mapping[str, float] = field(default_factory=dict[str, float])
    """Measured gain of the teacher over the student, by node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """One file."""

    node: str
    form: str
    split: Literal["train", "eval"]
    lines: tuple[bytes, ...]

    @property
    def remark(self) -> str | None:
        """What its format says against so few lines."""
        fewest = _RULES[self.form].fewest(self.split)
        if len(self.lines) >= fewest:
            return None
        return f"{self.node}: {len(self.lines)} {self.form} {self.split} lines are too few, {fewest} are needed: record more runs."


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """Everything that is written."""

    files: tuple[Lines, ...]
    rejected: tuple[Rejected, ...]
    worth: tuple[Worth, ...]
    redacted: Mapping[str, int]
    """Kind of data to how often it was taken out."""
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    dialogue: Dialogue
    node: str
    form: str
    steps: tuple[int, ...]
    value: dict[str, Any]
    texts: Texts

    def reject(self, reason: str) -> Rejected:
        return self.dialogue.reject(self.node, self.steps, reason, self.form)

    @property
    def name(self) -> str:
        return f"run {self.dialogue.run} step {self.steps[-1]}"


def exported(runs: Sequence[Recorded], chosen: Chosen, prices: PriceBook) -> Export:
    """Choose, redact, check, take repetitions out, split. Every model call of `runs` is in a line or among the rejected."""
    labels, redacted = by_run(chosen.labels), dict[str, int]()
    scored = [(run, labelled(run, labels.get(run.name, ()), reward=chosen.reward)) for run in runs]
    dialogues: list[Dialogue] = []
    for run, score in scored:
        redactor = Redactor(chosen.kinds)
        found = dialogue(run, score, redactor, least=chosen.least, teacher=chosen.teacher, model=chosen.model)
        missed = next((each for each in chosen.where if not each.holds(run.facts)), None)
        dialogues.append(found if missed is None else _none_of(found, run, missed))
        for kind, count in redactor.found.items():
            redacted[kind] = redacted.get(kind, 0) + count
    rejected = [each for one in dialogues for each in one.rejected]
    files: list[Lines] = []
    for form in chosen.forms:
        records = [each for one in dialogues for each in _records(one, form, chosen.turns)]
        files += _files(records, form, chosen, rejected)
    return Export(
        files=tuple(files),
        rejected=tuple(rejected),
        worth=worth(scored, prices, student=chosen.student, model=chosen.model, gaps=chosen.gaps),
        redacted=redacted,
        remarks=tuple(_remarks(files, dialogues)),
    )


def _none_of(found: Dialogue, run: Recorded, missed: Where) -> Dialogue:
    """The dialogue with no good call, since its run does not meet a condition."""
    reason = f"the run does not meet {missed.fact}{missed.test}{missed.value}"
    good = [each for each in found.said if each.step in found.good]
    more = tuple(found.reject(each.node, (each.step,), reason) for each in good)
    return Dialogue(
        run=found.run,
        file=found.file,
        line=run.line,
        group=found.group,
        said=found.said,
        tools=found.tools,
        good=frozenset(),
        rejected=(*found.rejected, *more),
    )


def held_back(group: str, share: float) -> bool:
    """Whether a conversation is for evaluation: by a hash of its name, so in every export and on every machine alike."""
    number = int.from_bytes(hashlib.sha256(f"governor-distill-1|{group}".encode("utf-8", "surrogatepass")).digest())
    return number < share * (1 << 256)


# --- the lines of one format


def _records(one: Dialogue, form: str, turns: Literal["single", "multi"]) -> Iterator[_Record]:
    """Bedrock: a line for each good call. OpenAI: one for all good calls of a node."""
    nodes: dict[str, list[int]] = {}
    for each in one.said:
        if each.step in one.good:
            nodes.setdefault(each.node, []).append(each.step)
    for node, steps in nodes.items():
        if form == "openai":
            said = one.until(steps[-1])
            whole = _text(each for each in said if each.role != "system")
            value = openai.record(one, steps)
            yield _Record(
                dialogue=one, node=node, form=form, steps=tuple(steps), value=value, texts=Texts(new=whole, whole=whole)
            )
            continue
        for step in steps:
            said = one.until(step)
            texts = Texts(new=_text(_newest(said)), whole=_text(said))
            value = bedrock.record(one, step, turns=turns)
            yield _Record(dialogue=one, node=node, form=form, steps=(step,), value=value, texts=texts)


def _newest(said: Sequence[Said]) -> Sequence[Said]:
    """An answer and what was said since the answer before it."""
    before = [position for position, each in enumerate(said[:-1]) if each.step]
    return said[before[-1] + 1 if before else 0 :]


def _text(said: Iterable[Said]) -> str:
    return "\n".join(
        "\n".join((each.text, *(f"{call.name} {json.dumps(call.args, sort_keys=True)}" for call in each.asked)))
        for each in said
    )


def _files(records: Sequence[_Record], form: str, chosen: Chosen, rejected: list[Rejected]) -> Iterator[Lines]:
    """The lines of one format, by node; what is left out goes to `rejected`."""
    valid: dict[str, list[_Record]] = {}
    for each in records:
        wrong = _wrong(each, chosen.turns)
        if wrong is None:
            valid.setdefault(each.node, []).append(each)
        else:
            rejected.append(each.reject(wrong))
    for node in sorted(valid):
        found = valid[node]
        again = repeated([each.texts for each in found], near=chosen.near)
        rejected += [found[at].reject(f"{kind} of {found[other].name}") for at, (other, kind) in sorted(again.items())]
        kept = [each for at, each in enumerate(found) if at not in again]
        for split in ("train", "eval"):
            part = [each for each in kept if held_back(each.dialogue.group, chosen.eval_share) == (split == "eval")]
            yield Lines(node=node, form=form, split=split, lines=tuple(_within(part, form, rejected)))


def _wrong(each: _Record, turns: Literal["single", "multi"]) -> str | None:
    """Why a line cannot be given to the student, or None."""
    said = each.dialogue.until(each.steps[-1])
    unread = next((at for at, one in enumerate(said, 1) if not one.readable), None)
    if unread is not None:
        return f"message {unread} holds content that is no text"
    if each.form == "openai":
        return next(openai.violations(each.value), None)
    return next(bedrock.violations(each.value, turns=turns), None)


def _within(records: Sequence[_Record], form: str, rejected: list[Rejected]) -> Iterator[bytes]:
    """As many lines as a job of the format takes."""
    rules, size, count = _RULES[form], 0, 0
    for each in records:
        line = json.dumps(each.value, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        if count >= rules.MOST or size + len(line) > rules.LARGEST_FILE:
            rejected.append(
                each.reject(f"a file of {form} takes at most {rules.MOST:,} lines and {rules.LARGEST_FILE:,} bytes")
            )
            continue
        size, count = size + len(line), count + 1
        yield line


def _remarks(files: Iterable[Lines], dialogues: Iterable[Dialogue]) -> Iterator[str]:
    for each in files:
        if each.remark is not None:
            yield each.remark
    inferred = sorted({tool.name for one in dialogues if one.good for tool in one.tools if tool.inferred})
    if inferred:
        yield f"The record names no description of {', '.join(inferred)}: parameters are those that were seen in calls."
