"""Which examples repeat another: the same text but for its form, or nearly the same.

Two examples are near duplicates when both what is new in them (the newest messages and the answer) and all of them are alike in `NEAR` of
their shingles. The whole alone would drop the next step of a run, which repeats the one before; the new part alone would drop every `yes`
after another question.
"""

from __future__ import annotations

import hashlib
import math
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["NEAR", "Texts", "alike", "digest", "repeated", "shingles"]

NEAR = 0.85
"""Jaccard similarity of the shingles. Lee et al. 2021 (arXiv 2107.06499) call 0.8 a near duplicate."""
_WORDS = 5
"""Words of a shingle, as in the same paper."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """What is compared of an example."""

    new: str
    whole: str


def digest(text: str) -> str:
    """The same for texts that differ in form alone: case, white space, and how a character is composed (NFKC)."""
    return hashlib.sha256(" ".join(_words(text)).encode("utf-8", "surrogatepass")).hexdigest()


def shingles(text: str) -> frozenset[int]:
    """Numbers of the text's runs of words; a text of fewer words is one of its own."""
    words = _words(text)
    runs = (words[at : at + _WORDS] for at in range(max(1, len(words) - _WORDS + 1)))
    return frozenset(
        int.from_bytes(hashlib.blake2b(" ".join(run).encode("utf-8", "surrogatepass"), digest_size=8).digest())
        for run in runs
    )


def _words(text: str) -> list[str]:
    return unicodedata.normalize("NFKC", text).casefold().split()


def alike(left: frozenset[int], right: frozenset[int]) -> float:
    """Their Jaccard similarity, 0 to 1."""
    together = len(left | right)
    return len(left & right) / together if together else 1.0


def repeated(texts: Sequence[Texts], *, near: float = NEAR) -> dict[int, tuple[int, str]]:
    """Position of each example that repeats an earlier one that is kept -> (which, `duplicate` or `near duplicate`).

    Exact, not sampled: two sets alike in a share t of their shingles have one in common among the ceil((1-t)n)+1 rarest of either
    (prefix filtering, Chaudhuri et al. 2006), so only examples that share a rare shingle are compared.
    """
    found: dict[int, tuple[int, str]] = {}
    first: dict[str, int] = {}
    for position, each in enumerate(texts):
        earlier = first.setdefault(digest(each.whole), position)
        if earlier != position:
            found[position] = earlier, "duplicate"
    left = [position for position in range(len(texts)) if position not in found]
    news = {position: shingles(texts[position].new) for position in left}
    common = Counter(shingle for each in news.values() for shingle in each)
    wholes: dict[int, frozenset[int]] = {}
    index: dict[int, list[int]] = {}
    for position in left:
        new = news[position]
        rare = sorted(new, key=lambda shingle: (common[shingle], shingle))[: len(new) - math.ceil(near * len(new)) + 1]
        candidates = sorted({each for shingle in rare for each in index.get(shingle, ())})
        match = next((each for each in candidates if _near(each, position, news, wholes, texts, near)), None)
        if match is not None:
            found[position] = match, "near duplicate"
            continue
        for shingle in rare:
            index.setdefault(shingle, []).append(position)
    return found


def _near(
    one: int,
    other: int,
    news: dict[int, frozenset[int]],
    wholes: dict[int, frozenset[int]],
    texts: Sequence[Texts],
    near: float,
) -> bool:
    if alike(news[one], news[other]) < near:
        return False
    for position in (one, other):
        if position not in wholes:
            wholes[position] = shingles(texts[position].whole)
    return alike(wholes[one], wholes[other]) >= near
