"""A score of the cheap answer: what the better tier would gain over it, now that it can be read.

Seeing the answer beats seeing the prompt (GSM8K, with other data: APGR 0.72 after the call, 0.58 before). The same linear model as before
the call, with the answer's n-grams and 14 numbers of the answer added to the features of the step.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import TYPE_CHECKING, cast
from zlib import crc32

from governor.errors import RoutingError
from governor.routing.estimate import DELTA_CHARS
from governor.routing.features import DIMENSIONS, NUMBERS, WORDS, Vector, hashed_text, split, vector
from governor.routing.hashed import Hashed, pack, train_hashed, unpack
from governor.routing.table import WEAK_ONLY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from governor.routing.estimate import StepFeatures
    from governor.routing.records import PairedOutcome

__all__ = ["ANSWER_NUMBERS", "Posthoc", "answered_vector", "train_posthoc"]

ANSWER_NUMBERS = (
    "length",
    "lines",
    "numbers",
    "distinct_numbers",
    "from_prompt",
    "last_is_new",
    "equations",
    "hedges",
    "refuses",
    "ends",
    "repeats",
    "questions",
    "longest_number",
    "against_prompt",
)
"""Numbers of an answer, in this order: its size, its figures and whether they are the prompt's, doubt, refusal, a clean end, repetition."""

_DIMENSIONS = DIMENSIONS + 2 * WORDS + len(ANSWER_NUMBERS)
_FIRST = DIMENSIONS + 2 * WORDS
_VERSION = 1
_MICRO = 1_000_000
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_HEDGES = re.compile(
    r"\b(?:maybe|perhaps|might|possibly|probably|assum\w*|approximately|unclear|not sure|however|wait|actually)\b"
)
_REFUSES = re.compile(r"\b(?:cannot|can't|unable|sorry|impossible|not enough|insufficient|don't know)\b")


class Posthoc:
    """What the better tier would gain over an answer. Pure and safe for threads."""

    def __init__(self, hashed: Hashed, *, records: int) -> None:
        """`records`: how many answers it learned from."""
        self._hashed = hashed
        self.records = records

    def gain(self, step: StepFeatures, answer: str) -> float:
        """From -1 to 1: the higher, the better it is to ask the better tier."""
        return max(-1.0, min(1.0, self._hashed.score(answered_vector(step, answer))))

    def dump(self) -> dict[str, object]:
        """The section `posthoc` of a snapshot."""
        weights, unit = pack(self._hashed.weights)
        bias = round(_MICRO * self._hashed.bias)
        return {"version": _VERSION, "bias": bias, "weights": weights, "unit": unit, "records": self.records}

    @classmethod
    def parse(cls, section: Mapping[str, object]) -> Posthoc:
        """The inverse of `dump`. Raises RoutingError."""
        remedy = "Train a new snapshot with this version: governor route train."
        try:
            version, bias, unit, records = (
                int(cast("int", section[name])) for name in ("version", "bias", "unit", "records")
            )
            weights = unpack(str(section["weights"]), unit, dimensions=_DIMENSIONS)
        except (KeyError, TypeError, ValueError) as error:
            raise RoutingError(f"the weights cannot be read ({error})", field="posthoc", remedy=remedy) from error
        if version != _VERSION:
            raise RoutingError(f"version {version} is not known", field="posthoc.version", remedy=remedy)
        return cls(Hashed(bias / _MICRO, weights), records=records)


def train_posthoc(records: Iterable[PairedOutcome], *, seed: int = 0) -> Posthoc | None:
    """Learn from the records that hold the cheap answer; None when none does."""
    own = [each for each in records if each.weak.answer]
    if not own:
        return None
    targets = [each.gain if each.gain > 0 else WEAK_ONLY * each.gain for each in own]
    seen = [answered_vector(each.step, each.weak.answer) for each in own]
    hashed = train_hashed(seen, targets, seed=seed, dimensions=_DIMENSIONS, numbers=len(NUMBERS) + len(ANSWER_NUMBERS))
    return Posthoc(hashed, records=len(own))


def answered_vector(step: StepFeatures, answer: str) -> Vector:
    """The step's vector with the answer's features; at most `DELTA_CHARS` of either are read."""
    before, text = vector(step), answer[:DELTA_CHARS]
    words = split(text)
    grams = hashed_text(words)
    # numbers come last, those of the step and those of the answer
    cut = len(before.positions) - len(NUMBERS)
    positions = before.positions[:cut] + [place + DIMENSIONS for place in grams.positions] + before.positions[cut:]
    values = before.values[:cut] + grams.values + before.values[cut:]
    positions.extend(range(_FIRST, _DIMENSIONS))
    values.extend(_numbers(step.delta[:DELTA_CHARS], text, words))
    return Vector(positions, values)


def _numbers(prompt: str, answer: str, words: list[bytes]) -> list[float]:
    """The values of `ANSWER_NUMBERS`."""
    figures, given = _NUMBER.findall(answer), set(_NUMBER.findall(prompt))
    low, lines = answer.lower(), [line for line in answer.splitlines() if line.strip()]
    repeated = sum(count - 1 for count in Counter(crc32(line.encode("utf-8", "replace")) for line in lines).values())
    return [
        math.log1p(len(answer)),
        math.log1p(len(lines)),
        math.log1p(len(figures)),
        math.log1p(len(set(figures))),
        sum(figure in given for figure in figures) / max(1, len(figures)),
        float(bool(figures) and figures[-1] not in given),
        math.log1p(answer.count("=")),
        math.log1p(len(_HEDGES.findall(low))),
        float(bool(_REFUSES.search(low))),
        float(answer.rstrip()[-1:] in {".", "!", "}", ")", "`"} or answer.rstrip()[-1:].isdigit()),
        repeated / max(1, len(lines)),
        math.log1p(answer.count("?")),
        math.log1p(max(map(len, figures), default=0)),
        math.log1p(len(words)) - math.log1p(len(prompt.split())),
    ]
