"""K-means over vectors, the same on every machine for the same vectors in the same order. No library: a faster `assigned` may be given."""

from __future__ import annotations

import math
import random
from array import array
from itertools import repeat
from operator import mul
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Assign = Callable[[Sequence[Sequence[float]], Sequence[Sequence[float]]], Sequence[int]]

__all__ = ["assigned", "kmeans", "nearest"]


def nearest(vector: Sequence[float], centroids: Sequence[Sequence[float]]) -> int:
    """The centroid closest to a vector; of two as close, the first."""
    best, at = -math.inf, 0
    for index, centroid in enumerate(centroids):
        # |v - c|^2 = |v|^2 - 2vc + |c|^2, and |v| is the same for all
        closeness = 2 * sum(map(mul, vector, centroid)) - sum(map(mul, centroid, centroid))
        if closeness > best:
            best, at = closeness, index
    return at


def assigned(vectors: Sequence[Sequence[float]], centroids: Sequence[Sequence[float]]) -> list[int]:
    """The nearest centroid of each vector."""
    return list(map(nearest, vectors, repeat(centroids)))


def kmeans(
    vectors: Sequence[Sequence[float]], k: int, *, seed: int = 0, rounds: int = 25, assign: Assign = assigned
) -> list[array[float]]:
    """At most `k` centroids by Lloyd's algorithm from k-means++ starts: the same for the same vectors in the same order.

    `assign` may be a faster `assigned`. A cluster that loses all its members keeps its place.
    """
    centroids = _starts(vectors, k, random.Random(seed))  # noqa: S311 - a fixed draw, not a secret
    members: Sequence[int] = ()
    for _ in range(rounds):
        found = assign(vectors, centroids)
        if list(found) == list(members):
            break
        members = found
        centroids = _means(vectors, members, centroids)
    return centroids


def _starts(vectors: Sequence[Sequence[float]], k: int, draw: random.Random) -> list[array[float]]:
    """Vectors to begin with, each drawn in proportion to its squared distance from those before."""
    first = array("f", vectors[draw.randrange(len(vectors))])
    starts, far = [first], [_squared(vector, first) for vector in vectors]
    while len(starts) < k:
        total = math.fsum(far)
        if total <= 1e-9:
            break  # fewer different vectors than clusters
        at, left = 0, draw.random() * total
        for index, distance in enumerate(far):
            left -= distance
            if distance > 0:
                at = index
            if left < 0:
                break
        chosen = array("f", vectors[at])
        starts.append(chosen)
        far = [min(known, _squared(vector, chosen)) for known, vector in zip(far, vectors, strict=True)]
    return starts


def _squared(one: Sequence[float], other: Sequence[float]) -> float:
    return sum((a - b) * (a - b) for a, b in zip(one, other, strict=True))


def _means(
    vectors: Sequence[Sequence[float]], members: Sequence[int], centroids: Sequence[array[float]]
) -> list[array[float]]:
    sums: list[list[float] | None] = [None] * len(centroids)
    counts = [0] * len(centroids)
    for vector, at in zip(vectors, members, strict=True):
        so_far = sums[at]
        sums[at] = list(vector) if so_far is None else [a + b for a, b in zip(so_far, vector, strict=True)]
        counts[at] += 1
    return [
        array("f", (value / count for value in total)) if total is not None else centroid
        for total, count, centroid in zip(sums, counts, centroids, strict=True)
    ]
