"""The `encoder` section of a snapshot: centroids of deltas in a sentence encoder's space, and what the better tier gained near each.

Numbers alone: no text, and no library. Who embeds is an integration; what it learned is read, written and added up here. Neighbours
are in a section only where the author of the training asked for them: an embedding can be turned back into much of its text.
"""

from __future__ import annotations

import base64
import binascii
import math
import sys
import zlib
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.routing.clustering import assigned, kmeans
from governor.routing.reading import Fields
from governor.values import cheap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from governor.routing.clustering import Assign

__all__ = [
    "FEW",
    "MANY",
    "MANY_FROM",
    "Z_UPPER",
    "Cluster",
    "Encoded",
    "Points",
    "bounded",
    "cluster_count",
    "learned",
    "read_section",
    "section_of",
    "wilson",
]

FEW, MANY, MANY_FROM = 16, 64, 1_000
"""Clusters below and from so many labels: 16 and 64 score alike on 5,000 (design notes, "Neural estimator")."""
PRIOR = 10
"""Labels that the mean of all clusters counts as in each: with few of its own a cluster says what all say."""
Z_UPPER = 2.326
"""Standard normal quantile of 99%: of the one-sided upper bound of a failure rate."""
Z_SIDES = 1.96
"""Of 97.5%: both ends of an interval at 95%."""
THOUSANDTHS = 1_000
"""Sums of scores are whole numbers, so that a section is the same bytes wherever it was made."""
_LARGEST = 4_096
"""Dimensions that an encoder may have."""
_VERSION = 1


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What was recorded of the deltas nearest to one centroid. Sums are in thousandths."""

    n: int
    gain: int
    """Sum of strong - weak."""
    squares: int
    """Sum of its squares."""
    failed: int
    """Sum of 1 - weak: how often the weak tier was wrong."""

    def interval(self, prior: float) -> tuple[float, float, float]:
        """The gain, drawn towards `prior` as by 10 labels, and both ends of its interval at 95%."""
        n = self.n + PRIOR
        mean = (self.gain / THOUSANDTHS + PRIOR * prior) / n
        spread = max(0.0, (self.squares / THOUSANDTHS + PRIOR * max(prior * prior, abs(prior))) / n - mean * mean)
        return bounded(mean, spread, n)

    def failures(self) -> tuple[float, float]:
        """The rate at which the weak tier fails: as seen, and its upper bound at 99%."""
        if not self.n:
            return 1.0, 1.0
        seen = self.failed / THOUSANDTHS / self.n
        return seen, wilson(seen, self.n, Z_UPPER)[1]


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """The deltas that were learned from, for their nearest neighbours."""

    vectors: tuple[array[float], ...]
    gains: tuple[int, ...]
    """Strong - weak of each, thousandths."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """The whole section."""

    model_sha256: str
    tokenizer_sha256: str
    """Of the files that it was learned with. Two exports of one model are two spaces."""
    dim: int
    max_tokens: int
    centroids: tuple[array[float], ...]
    clusters: tuple[Cluster, ...]
    """In step with `centroids`."""
    points: Points | None = None

    @property
    def records(self) -> int:
        """Labels in all clusters."""
        return sum(cluster.n for cluster in self.clusters)

    @property
    def mean(self) -> float:
        """The gain over all of them: what an empty cluster says."""
        return sum(cluster.gain for cluster in self.clusters) / THOUSANDTHS / max(1, self.records)


def bounded(mean: float, variance: float, n: int) -> tuple[float, float, float]:
    """A mean of values from -1 to 1 with both ends of its interval at 95%."""
    half = Z_SIDES * math.sqrt(variance / n) if n else 2.0
    return mean, max(-1.0, mean - half), min(1.0, mean + half)


def wilson(rate: float, n: int, z: float) -> tuple[float, float]:
    """Wilson's interval of a rate over `n` trials. Without any trial it is all of 0 to 1."""
    if n <= 0:
        return 0.0, 1.0
    square = z * z
    middle = (rate + square / (2 * n)) / (1 + square / n)
    half = z / (1 + square / n) * math.sqrt(rate * (1 - rate) / n + square / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def cluster_count(labels: int) -> int:
    """How many clusters so many labels are worth."""
    return max(1, min(labels, MANY if labels >= MANY_FROM else FEW))


def learned(
    vectors: Sequence[Sequence[float]],
    scores: Sequence[tuple[float, float]],
    *,
    model_sha256: str,
    tokenizer_sha256: str,
    max_tokens: int,
    k: int | None = None,
    neighbours: bool = False,
    assign: Assign = assigned,
) -> Encoded:
    """What is to be learned of embedded deltas and the (strong, weak) scores at each, 0 to 1.

    `k`: clusters; absent, as many as the labels are worth. `neighbours`: keep the vectors too.
    """
    if not vectors:
        raise ValueError("nothing was recorded to learn from")
    centroids = kmeans(vectors, k or cluster_count(len(vectors)), assign=assign)
    tallies = [[0, 0, 0, 0] for _ in centroids]
    gains = [round((strong - weak) * THOUSANDTHS) for strong, weak in scores]
    for at, gain, (strong, weak) in zip(assign(vectors, centroids), gains, scores, strict=True):
        tally = tallies[at]
        tally[0] += 1
        tally[1] += gain
        tally[2] += round((strong - weak) ** 2 * THOUSANDTHS)
        tally[3] += round((1 - weak) * THOUSANDTHS)
    return Encoded(
        model_sha256=model_sha256,
        tokenizer_sha256=tokenizer_sha256,
        dim=len(vectors[0]),
        max_tokens=max_tokens,
        centroids=tuple(centroids),
        clusters=tuple(Cluster(n=n, gain=gain, squares=squares, failed=failed) for n, gain, squares, failed in tallies),
        points=Points(vectors=tuple(array("f", vector) for vector in vectors), gains=tuple(gains))
        if neighbours
        else None,
    )


# --- reading and writing ----------------------------------------------------------------------------------------------


def section_of(encoded: Encoded) -> dict[str, object]:
    """The section as JSON values."""
    values: dict[str, object] = {
        "version": _VERSION,
        "model_sha256": encoded.model_sha256,
        "tokenizer_sha256": encoded.tokenizer_sha256,
        "dim": encoded.dim,
        "max_tokens": encoded.max_tokens,
        "centroids": _packed(encoded.centroids),
        "clusters": [
            {"n": each.n, "gain": each.gain, "squares": each.squares, "failed": each.failed}
            for each in encoded.clusters
        ],
    }
    if encoded.points is not None:
        values["points"] = {"vectors": _packed(encoded.points.vectors), "gains": list(encoded.points.gains)}
    return values


def read_section(values: Mapping[str, object] | Fields, *, file: str | None = None) -> Encoded:
    """The inverse of `section_of`. Raises RoutingError with the field and the remedy."""
    given = values if isinstance(values, Fields) else Fields(values, file=file, line=None, at="encoder.")
    version = given.integer("version")
    if version != _VERSION:
        message = f"version {version} of this section is not known"
        raise given.wrong("version", message, "Train a snapshot with this governor.")
    dim = given.integer("dim", least=1, most=_LARGEST)
    centroids = _vectors(given, "centroids", dim)
    rows = given.rows("clusters")
    if not centroids or len(rows) != len(centroids):
        message = f"{len(rows)} clusters and {len(centroids)} centroids do not go together"
        raise given.wrong("clusters", message, "Train the snapshot again.")
    encoded = Encoded(
        model_sha256=given.text("model_sha256"),
        tokenizer_sha256=given.text("tokenizer_sha256"),
        dim=dim,
        max_tokens=given.integer("max_tokens", least=1),
        centroids=centroids,
        clusters=tuple(map(_cluster, rows)),
        points=_points(given.fields("points"), dim) if given.has("points") else None,
    )
    given.done()
    return encoded


def _cluster(row: Fields) -> Cluster:
    n = row.integer("n")
    most = n * THOUSANDTHS
    cluster = Cluster(
        n=n,
        gain=row.integer("gain", least=-most, most=most),
        squares=row.integer("squares", most=most),
        failed=row.integer("failed", most=most),
    )
    row.done()
    return cluster


def _points(given: Fields, dim: int) -> Points:
    vectors = _vectors(given, "vectors", dim)
    gains = [value for value in given.list_of("gains") if isinstance(value, int) and abs(value) <= THOUSANDTHS]
    if len(gains) != len(vectors) or not gains:
        raise given.wrong("gains", f"expected one gain a vector, found {len(gains)}", "Train the snapshot again.")
    given.done()
    return Points(vectors=vectors, gains=tuple(gains))


def _packed(vectors: Sequence[array[float]]) -> str:
    flat: array[float] = array("f")
    for vector in vectors:
        flat.extend(vector)
    if sys.byteorder == "big":
        flat.byteswap()
    return base64.b64encode(zlib.compress(flat.tobytes(), 9)).decode()


def _vectors(given: Fields, name: str, dim: int) -> tuple[array[float], ...]:
    """Vectors of `dim` finite 32-bit floats each."""
    flat: array[float] = array("f")
    try:
        flat.frombytes(zlib.decompress(base64.b64decode(given.text(name), validate=True)))
    except (binascii.Error, zlib.error, ValueError) as error:
        raise given.wrong(name, f"this is no packed list of vectors ({error})", "Train the snapshot again.") from None
    if sys.byteorder == "big":
        flat.byteswap()
    if len(flat) % dim or not all(map(math.isfinite, flat)):
        message = f"{len(flat)} numbers are no finite vectors of {dim} dimensions"
        raise given.wrong(name, message, "Train the snapshot again.")
    return tuple(flat[start : start + dim] for start in range(0, len(flat), dim))
