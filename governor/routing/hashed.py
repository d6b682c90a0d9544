"""The default estimator's weights: one linear model of the gain over hashed n-grams, names and numbers of a step.

Least squares on the difference of the two scores, not a logistic of "the better tier gains": of the same features it ranks better, since
it also learns from steps that only the cheaper tier got right (APGR over five folds of recorded outcomes: MMLU 0.673 against 0.641, GSM8K
0.706 against 0.676). It is trained by dual coordinate ascent, which needs no step size and comes to the same weights whatever the order.
"""

from __future__ import annotations

import base64
import binascii
import math
import random
import sys
import zlib
from array import array
from dataclasses import dataclass
from itertools import accumulate
from operator import itemgetter, mul
from typing import TYPE_CHECKING

from governor.routing.features import DIMENSIONS, NUMBERS
from governor.values import cheap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.routing.features import Vector

__all__ = ["Hashed", "as_kept", "pack", "train_hashed", "unpack"]

PENALTY = 10.0
"""On the squared length of the weights. 3, 10 and 30 rank alike (within 0.008 on MMLU and GSM8K)."""

_NUMBERS_SCALE = 0.1
"""Standard deviation that numbers are given, against n-grams that have length 1 in all: 0, 0.1 and 0.3 were tried."""

_MICRO = 1_000_000
_ROUNDS = 12
_TOLERANCE = 0.02
"""A round that moves no record's error by more than this is the last one."""

_STEPS = 32_767
"""Weights are kept in 16 bits: the largest of them is at most as many steps."""


@cheap
@dataclass(frozen=True, slots=True)
class Hashed:
    """A linear model: bias + the sum of weights times values."""

    bias: float
    weights: array[float]
    """By position."""

    def score(self, seen: Vector) -> float:
        """The gain that it predicts, before calibration."""
        if not seen.positions:
            return self.bias
        return self.bias + sum(map(mul, itemgetter(0, *seen.positions)(self.weights)[1:], seen.values))


def train_hashed(
    seen: Sequence[Vector],
    targets: Sequence[float],
    *,
    penalty: float = PENALTY,
    rounds: int = _ROUNDS,
    seed: int = 0,
    tolerance: float = _TOLERANCE,
    dimensions: int = DIMENSIONS,
    numbers: int = len(NUMBERS),
) -> Hashed:
    """The weights that fit `targets` best under the penalty. Equal input gives equal weights.

    The last `numbers` values of each vector, at the same positions in all, are numbers: centred and scaled by what is seen here, while the
    model takes them as they are.
    """
    centre, scale = _standard(seen, numbers)
    rows = [_scaled(each, centre, scale) for each in seen]
    bias = math.fsum(targets) / max(1, len(targets))
    weights, duals = [0.0] * dimensions, [0.0] * len(rows)
    sizes = [1 + sum(value * value for value in values) / penalty for _, values, _ in rows]
    order, draw = list(range(len(rows))), random.Random(seed)  # noqa: S311 - an order to visit records in
    for _ in range(rounds):
        draw.shuffle(order)
        moved = 0.0
        for at in order:
            positions, values, pick = rows[at]
            error = targets[at] - bias - sum(map(mul, pick(weights), values))
            step = (error - duals[at]) / sizes[at]
            duals[at] += step
            moved = max(moved, abs(step))
            step /= penalty
            for position, value in zip(positions, values, strict=True):
                weights[position] += step * value
        if moved < tolerance:
            break
    places = seen[0].positions[-numbers:] if seen else []
    for place, by, mean in zip(places, scale, centre, strict=False):
        weights[place] *= by
        bias -= weights[place] * mean
    return Hashed(bias, array("f", weights))


def _standard(seen: Sequence[Vector], numbers: int) -> tuple[list[float], list[float]]:
    """Mean of each number, and what to multiply it by; 0 for one that is always the same."""
    count = max(1, len(seen))
    columns = list(zip(*(each.values[-numbers:] for each in seen), strict=True))
    centre = [math.fsum(column) / count for column in columns]
    spread = [
        math.sqrt(math.fsum((value - mean) ** 2 for value in column) / count)
        for column, mean in zip(columns, centre, strict=True)
    ]
    return centre, [_NUMBERS_SCALE / each if each > 1e-9 else 0.0 for each in spread]


def _scaled(
    seen: Vector, centre: list[float], scale: list[float]
) -> tuple[list[int], list[float], itemgetter[tuple[float, ...]]]:
    """Positions, values and what takes the weights at the positions, in C."""
    count = len(centre)
    numbers = [(value - mean) * by for value, mean, by in zip(seen.values[-count:], centre, scale, strict=True)]
    return seen.positions, seen.values[:-count] + numbers, itemgetter(*seen.positions)


# --- as text


def pack(weights: array[float]) -> tuple[str, int]:
    """The weights as base64 of zlib of gaps and values, and what one step of a value is, in units of 2**-40.

    Whole numbers all the way, little-endian: the same text on every machine. A step is a power of two, so that what is unpacked is packed
    as the same text.
    """
    largest, unit = max(map(abs, weights), default=0.0) * 2**40, 1
    while largest > _STEPS * unit:
        unit *= 2
    values = [round(weight * 2**40 / unit) for weight in weights]
    places = [place for place, value in enumerate(values) if value]
    gaps = array("I", [place - before for before, place in zip([-1, *places], places, strict=False)])
    kept = array("h", [values[place] for place in places])
    data = len(places).to_bytes(4, "little") + _little(gaps) + _little(kept)
    return base64.b64encode(zlib.compress(data, 9)).decode("ascii"), unit


def as_kept(model: Hashed) -> Hashed:
    """The model that will be read back: what is said of its scores must be said of this one."""
    return Hashed(round(model.bias * _MICRO) / _MICRO, unpack(*pack(model.weights), dimensions=len(model.weights)))


def unpack(text: str, unit: int, *, dimensions: int = DIMENSIONS) -> array[float]:
    """The inverse of `pack`, but for what 16 bits leave of a weight. Raises ValueError on anything else."""
    try:
        unpacking = zlib.decompressobj()
        data = unpacking.decompress(base64.b64decode(text, validate=True), 4 + 6 * dimensions)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"not base64 of zlib: {error}") from None
    count = int.from_bytes(data[:4], "little")
    if len(data) != 4 + 6 * count or not unpacking.eof:
        raise ValueError(f"{len(data)} bytes do not hold {count} weights")
    gaps, values = array("I", data[4 : 4 + 4 * count]), array("h", data[4 + 4 * count :])
    if sys.byteorder == "big":
        gaps.byteswap()
        values.byteswap()
    weights = array("f", bytes(4 * dimensions))
    for place, value in zip(accumulate(gaps, initial=-1), [0, *values], strict=True):
        if value and not 0 <= place < dimensions:
            raise ValueError(f"a weight at {place} is out of range")
        if value:
            weights[place] = value * unit / 2**40
    return weights


def _little(values: array[int]) -> bytes:
    if sys.byteorder == "big":
        values = array(values.typecode, values)
        values.byteswap()
    return values.tobytes()
