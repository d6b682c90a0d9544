"""What estimators read of a step, as numbers: hashed n-grams of the newest message, what is known of the step, a few counts of the text.

Pure Python without a dependency: a decision has 5 ms. Hashes are CRC-32 of bytes, the same in every process and on every machine
(`hash` is salted). The dimensions of a vector, in this order:

- `WORDS` for 4-grams of bytes within words: one byte is one character, except beyond ASCII (3- to 5-grams rank alike at three times the
  price);
- `WORDS` for words and pairs of neighbours;
- `NAMES` for what has a name: node, outcome of the last step, pending tool, and node with outcome;
- one for each of `NUMBERS`.

The first two parts have length 1 each, so that a long message speaks no louder than a short one.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING
from zlib import crc32

from governor.routing.estimate import DELTA_CHARS
from governor.values import cheap

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from governor.routing.estimate import StepFeatures

__all__ = [
    "DIMENSIONS",
    "FEATURES_VERSION",
    "NAMES",
    "NUMBERS",
    "WORDS",
    "Vector",
    "hashed_text",
    "numbers",
    "split",
    "vector",
]

FEATURES_VERSION = 1
"""A snapshot holds it: weights that were learned of other features mean nothing."""

WORDS = 1 << 17
NAMES = 1 << 12
_GRAM = 4

_KINDS: Mapping[str, frozenset[bytes]] = {
    "proves": frozenset(b"prove proof theorem lemma derive derived derivation show implies contradiction".split()),
    "computes": frozenset(
        b"calculate compute many much sum product equation integral solve percent ratio probability total average".split()
    ),
    "codes": frozenset(
        b"code function class def return python algorithm array compile import error exception traceback test".split()
    ),
    "explains": frozenset(
        b"why explain compare contrast argue analyze analyse evaluate best likely describe discuss".split()
    ),
    "denies": frozenset(b"not except least never none neither nor false incorrect no without".split()),
    "chooses": frozenset(b"which following statement statements choose select true answer correct option".split()),
}
"""Classes of words, as far as plain English and code go: a text in another language has none of them, and loses nothing else."""

_TEXT = ("length", "lines", "questions", "digits", "word_length", "symbols", "capitals", *_KINDS)
_STEP = ("errors", "repeats", "step", "structured", "prefix_tokens", "delta_tokens")
NUMBERS = (*_TEXT, *_STEP)
"""Names of the numbers at the end of a vector."""

DIMENSIONS = 2 * WORDS + NAMES + len(NUMBERS)

_WORD = re.compile(rb"[a-z0-9_\x80-\xff]+")
_PLAIN = re.compile(r"[\w\s]+", re.ASCII)


@cheap
@dataclass(frozen=True, slots=True)
class Vector:
    """A step as a sparse vector: positions in ascending order are not promised, each comes once."""

    positions: list[int]
    values: list[float]


def vector(step: StepFeatures) -> Vector:
    """The vector of a step. Reads at most `DELTA_CHARS` bytes of its delta."""
    text = step.delta[:DELTA_CHARS]
    words = split(text)
    made = hashed_text(words)
    named, at = _named(step), 2 * WORDS + NAMES
    counts = numbers(step, text, words)
    made.positions.extend(named)
    made.values.extend([1.0] * len(named))
    made.positions.extend(range(at, at + len(counts)))
    made.values.extend(counts)
    return made


def split(text: str) -> list[bytes]:
    """The words of a text in lower case, of at most `DELTA_CHARS` bytes of it."""
    return _WORD.findall(text.lower().encode("utf-8", "replace")[:DELTA_CHARS])


def hashed_text(words: list[bytes]) -> Vector:
    """N-grams of words in lower case, each part of length 1. Equal words are cut up once."""
    grams: dict[int, int] = {}
    get, mask = grams.get, WORDS - 1
    for word, count in Counter(words).items():
        padded = b" " + word + b" "
        for start in range(len(padded) - _GRAM + 1):
            place = crc32(padded[start : start + _GRAM]) & mask
            grams[place] = get(place, 0) + count
    terms = Counter([crc32(word) & mask | WORDS for word in words])
    terms.update([crc32(second, crc32(b" ", crc32(first))) & mask | WORDS for first, second in pairwise(words)])
    return Vector([*grams, *terms], _unit(grams.values()) + _unit(terms.values()))


def numbers(step: StepFeatures, text: str, words: list[bytes]) -> list[float]:
    """The values of `NUMBERS`, each of the order of 1: counts by their logarithm, the rest as shares."""
    size = max(1, len(text))
    seen = Counter(words)
    digits = sum(text.count(digit) for digit in "0123456789")
    plain = sum(map(len, _PLAIN.findall(text)))
    found = [
        math.log1p(len(text)),
        math.log1p(text.count("\n")),
        math.log1p(text.count("?")),
        digits / size,
        sum(map(len, words)) / max(1, len(words)),
        1 - plain / size if text else 0.0,
        sum(map(str.isupper, text)) / size,
    ]
    found.extend(math.log1p(sum(seen[word] for word in kind)) for kind in _KINDS.values())
    found.extend(
        (
            math.log1p(step.errors),
            math.log1p(step.repeats),
            math.log1p(step.step),
            float(step.structured),
            math.log1p(step.prefix_tokens),
            math.log1p(step.delta_tokens),
        )
    )
    return found


def _named(step: StepFeatures) -> list[int]:
    """Places of what has a name. Two names that meet in one place count once."""
    outcome = step.outcome or "ok"
    names = (f"node {step.path}", f"outcome {outcome}", f"tool {step.pending_tool}", f"both {step.path} {outcome}")
    return list({2 * WORDS + (crc32(name.encode("utf-8", "replace")) & (NAMES - 1)): None for name in names})


def _unit(counts: Collection[int]) -> list[float]:
    """The counts, so scaled that their squares sum to 1."""
    raw = list(counts)
    length = math.sqrt(sum([count * count for count in raw])) or 1.0
    return [count / length for count in raw]
