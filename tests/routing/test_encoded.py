"""Clusters and neighbours of embedded deltas: the maths, and what is read back."""

import math
from array import array
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.errors import RoutingError
from governor.routing.clustering import assigned, kmeans, nearest
from governor.routing.embedding import Embedded
from governor.routing.encoded import (
    MANY,
    MANY_FROM,
    Cluster,
    cluster_count,
    learned,
    read_section,
    section_of,
    wilson,
)
from governor.routing.estimate import StepFeatures

numbers = st.floats(-1, 1, width=32)
vectors = st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=40)
scores = st.sampled_from([(1.0, 0.0), (1.0, 1.0), (0.0, 1.0), (0.0, 0.0), (0.75, 0.25)])
FILES: dict[str, Any] = {"model_sha256": "m", "tokenizer_sha256": "t", "max_tokens": 256}


@given(vectors, st.integers(1, 8))
def test_clusters_are_the_same_every_time_and_no_more_than_asked_for(found: list[Any], k: int) -> None:
    made = kmeans(found, k)

    assert made == kmeans(found, k)
    assert 1 <= len(made) <= k
    assert set(assigned(found, made)) <= set(range(len(made)))


@given(st.integers(1, 6), st.integers(0, 3))
def test_groups_that_lie_apart_become_the_clusters(groups: int, seed: int) -> None:
    found = [(10.0 * group, float(number % 3) / 10, 0.0) for number in range(12) for group in range(groups)]

    made = kmeans(found, groups, seed=seed)

    of = assigned(found, made)
    assert groups == len({(of[at], at % groups) for at in range(len(found))})


@given(vectors, vectors)
def test_the_nearest_centroid_has_no_nearer_one(found: list[Any], centroids: list[Any]) -> None:
    for vector in found:
        at = nearest(vector, centroids)
        assert math.dist(vector, centroids[at]) <= min(math.dist(vector, each) for each in centroids) + 1e-6


@given(st.lists(st.tuples(st.tuples(numbers, numbers), scores), min_size=1, max_size=60), st.booleans())
def test_what_was_learned_is_read_back_as_it_was(rows: list[Any], neighbours: bool) -> None:
    made = learned([row[0] for row in rows], [row[1] for row in rows], neighbours=neighbours, **FILES)

    assert made == read_section(section_of(made))
    assert made.records == len(rows)
    assert made.mean == pytest.approx(sum(strong - weak for _, (strong, weak) in rows) / len(rows))


@given(st.floats(0, 1), st.integers(1, 5_000), st.floats(0.5, 3))
def test_wilsons_interval_holds_the_rate_and_narrows(rate: float, n: int, z: float) -> None:
    low, high = wilson(rate, n, z)

    assert 0 <= low <= rate + 1e-12
    assert rate - 1e-12 <= high <= 1
    assert high - low >= wilson(rate, n * 4, z)[1] - wilson(rate, n * 4, z)[0]


def test_wilson_agrees_with_published_figures() -> None:
    low, high = wilson(0.1, 100, 1.959964)  # Brown, Cai and DasGupta's recommended interval for 10 of 100

    assert (round(low, 4), round(high, 4)) == (0.0552, 0.1744)


@given(st.integers(0, 300), st.floats(-1, 1))
def test_a_small_cluster_says_what_all_say_and_a_large_one_what_it_saw(n: int, prior: float) -> None:
    gain, low, high = Cluster(n=n, gain=n * 1_000, squares=n * 1_000, failed=n * 1_000).interval(prior)

    assert gain == pytest.approx((n + 10 * prior) / (n + 10))
    assert -1 <= low <= gain + 1e-9
    assert gain - 1e-9 <= high <= 1


def test_more_labels_are_worth_more_clusters() -> None:
    assert [1, 16, 16, MANY] == [cluster_count(n) for n in (1, 16, MANY_FROM - 1, MANY_FROM)]


def test_the_rate_of_failures_of_an_empty_cluster_is_not_taken_to_be_low() -> None:
    assert Cluster(n=0, gain=0, squares=0, failed=0).failures() == (1.0, 1.0)


SECTION = section_of(learned([(1.0, 0.0), (0.0, 1.0)], [(1.0, 0.0), (1.0, 1.0)], neighbours=True, k=2, **FILES))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"version": 2}, "encoder.version"),
        ({"dim": 3}, "encoder.centroids"),
        ({"dim": 0}, "encoder.dim"),
        ({"centroids": "no base64"}, "encoder.centroids"),
        ({"centroids": "YWJj"}, "encoder.centroids"),
        ({"clusters": []}, "encoder.clusters"),
        ({"clusters": [{"n": 1, "gain": 2_000, "squares": 0, "failed": 0}] * 2}, "encoder.clusters.0.gain"),
        ({"points": {"vectors": "", "gains": []}}, "encoder.points.vectors"),
        ({"model_sha256": ""}, "encoder.model_sha256"),
        ({"prompt": "text"}, "encoder.prompt"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_section_that_is_broken_is_refused_at_its_field(change: dict[str, Any], field: str) -> None:
    with pytest.raises(RoutingError) as caught:
        read_section({**SECTION, **change})

    assert caught.value.field == field
    assert caught.value.remedy


class Fixed:
    """An encoder of two directions that counts its work."""

    model_sha256, tokenizer_sha256, max_tokens = "m", "t", 256

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, text: str) -> list[float]:
        self.asked.append(text)
        return [1.0, 0.0] if "hard" in text else [0.0, 1.0]


def test_the_delta_is_embedded_with_its_node_once_and_never_more_than_is_read() -> None:
    encoder = Fixed()
    estimator = Embedded(read_section(SECTION), encoder)
    step = StepFeatures(node="n", path="p", delta="hard " * 5_000, prefix_tokens=9_000)

    assert estimator.estimate(step) == estimator.estimate(step)
    assert [f"n: {('hard ' * 800)}"] == encoder.asked


def test_neighbours_need_neighbours() -> None:
    encoded = replace(read_section(SECTION), points=None)

    with pytest.raises(ValueError, match="keeps no neighbours"):
        Embedded(encoded, Fixed(), "knn")


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=30), st.integers(1, 40))
def test_both_ways_of_looking_for_neighbours_find_the_same(found: list[Any], count: int) -> None:
    from governor_encoder import searching

    made = learned(found, [(1.0, 0.0)] * len(found), neighbours=True, k=1, **FILES)
    assert made.points is not None
    slow = Embedded(made, Fixed(), "knn")

    vector = array("f", found[0])

    near = [
        sum(a * b for a, b in zip(vector, made.points.vectors[at], strict=True))
        for at in searching(made.points)(vector, count)
    ]
    plain = [
        sum(a * b for a, b in zip(vector, made.points.vectors[at], strict=True)) for at in slow._compared(vector, count)
    ]
    assert near == pytest.approx(plain)
