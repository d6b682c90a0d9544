"""Estimates from an embedding of the delta: its cluster's gain, its neighbours' gain, the mean of both, or its cluster's failures.

The encoder is whatever turns text into a vector: the integration `governor_encoder` runs a local ONNX model. Only the delta is embedded,
never the prefix, of which a sentence encoder would see under 2%.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha256
from operator import mul
from threading import Lock
from typing import TYPE_CHECKING, Literal, Protocol

from governor.routing.clustering import nearest
from governor.routing.encoded import THOUSANDTHS, Z_UPPER, Cluster, wilson
from governor.routing.estimate import DELTA_CHARS, Estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from governor.routing.encoded import Encoded
    from governor.routing.estimate import StepFeatures

    Search = Callable[[Sequence[float], int], Sequence[int]]

__all__ = ["NEIGHBOURS", "Embedded", "Encoder", "Method", "text_of"]

NEIGHBOURS = 50
"""Of kNN (design notes: kNN-50 scores as the clusters do)."""
_REMEMBERED = 256
"""Embeddings kept, since a step that is tried again has the same delta: at 384 dimensions 0.4 MB."""

Method = Literal["clusters", "failures", "knn", "mean"]


class Encoder(Protocol):
    """Turns text into a vector. Safe for threads."""

    @property
    def model_sha256(self) -> str:
        """Of the model's file."""
        ...

    @property
    def tokenizer_sha256(self) -> str:
        """Of the tokenizer's file."""
        ...

    @property
    def max_tokens(self) -> int:
        """Where a text is cut."""
        ...

    def encode(self, text: str) -> Sequence[float]:
        """Its vector, of length 1."""
        ...


def text_of(step: StepFeatures) -> str:
    """What is embedded of a step: the node's name and the delta. For learning and for estimating alike."""
    return f"{step.node}: {step.delta[:DELTA_CHARS]}"


class Embedded:
    """An estimator over one section of a snapshot and the encoder that it was learned with."""

    def __init__(
        self, encoded: Encoded, encoder: Encoder, method: Method = "clusters", search: Search | None = None
    ) -> None:
        """`search`: positions of the points nearest to a vector, nearest first; absent, they are all compared here, slowly.

        Raises ValueError where `method` needs neighbours and the section has none.
        """
        if method in ("knn", "mean") and encoded.points is None:
            raise ValueError(f"the snapshot keeps no neighbours, which `method: {method}` needs")
        self._encoded, self._encoder, self._method = encoded, encoder, method
        self._search = search or self._compared
        self._known: OrderedDict[bytes, Sequence[float]] = OrderedDict()
        self._lock = Lock()

    def estimate(self, step: StepFeatures) -> Estimate | None:
        """The gain near the step's delta; None for a step without one."""
        if not step.delta.strip():
            return None
        vector = self._embedded(text_of(step))
        if self._method == "knn":
            return self._by_neighbours(vector)
        at = nearest(vector, self._encoded.centroids)
        if self._method == "failures":
            return self._by_failures(at)
        clusters = self._by_gain(at)
        return clusters if self._method == "clusters" else _mean(clusters, self._by_neighbours(vector))

    def _by_gain(self, at: int) -> Estimate:
        cluster = self._encoded.clusters[at]
        gain, low, high = cluster.interval(self._encoded.mean)
        failing, upper = cluster.failures()
        facts = {
            "cluster": str(at),
            "cluster_records": str(cluster.n),
            "weak_fails": f"{failing:.3f}",
            "weak_fails_at_most": f"{upper:.3f}",
            "mean_gain": f"{self._encoded.mean:.3f}",
        }
        return Estimate(gain=gain, low=low, high=high, records=cluster.n, layer=f"encoder cluster {at}", facts=facts)

    def _by_failures(self, at: int) -> Estimate:
        """The upper bound of how often the weak tier fails stands for the gain, which cannot be more."""
        cluster = self._encoded.clusters[at]
        failing, upper = cluster.failures()
        low = wilson(failing, cluster.n, Z_UPPER)[0]
        facts = {"cluster": str(at), "cluster_records": str(cluster.n), "weak_fails": f"{failing:.3f}"}
        return Estimate(
            gain=upper, low=low, high=upper, records=cluster.n, layer=f"encoder failures of cluster {at}", facts=facts
        )

    def _by_neighbours(self, vector: Sequence[float]) -> Estimate:
        points = self._encoded.points
        gains = [points.gains[at] for at in self._search(vector, NEIGHBOURS)] if points else []
        near = Cluster(
            n=len(gains), gain=sum(gains), squares=sum(each * each for each in gains) // THOUSANDTHS, failed=0
        )
        gain, low, high = near.interval(self._encoded.mean)
        facts = {"neighbours": str(near.n), "mean_gain": f"{self._encoded.mean:.3f}"}
        return Estimate(
            gain=gain, low=low, high=high, records=near.n, layer=f"encoder {near.n} neighbours", facts=facts
        )

    def _embedded(self, text: str) -> Sequence[float]:
        key = sha256(text.encode("utf-8", "surrogatepass")).digest()
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
                return known
        vector = self._encoder.encode(text)
        with self._lock:
            self._known[key] = vector
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return vector

    def _compared(self, vector: Sequence[float], count: int) -> Sequence[int]:
        points = self._encoded.points
        vectors = points.vectors if points else ()
        likeness = [sum(map(mul, vector, each)) for each in vectors]
        return sorted(range(len(likeness)), key=lambda at: (-likeness[at], at))[:count]


def _mean(one: Estimate, other: Estimate) -> Estimate:
    """Half of each. The interval is as wide as theirs are on average: they are of the same records."""
    return Estimate(
        gain=(one.gain + other.gain) / 2,
        low=(one.low + other.low) / 2,
        high=(one.high + other.high) / 2,
        records=max(one.records, other.records),
        layer=f"{one.layer} and {other.layer.removeprefix('encoder ')}",
        facts={**one.facts, "gain_clusters": f"{one.gain:.3f}", "gain_neighbours": f"{other.gain:.3f}"},
    )
