"""A fixed sample of a large table of cases, or all of it: `WHOLE=1` (`make soak`)."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from typing import Any

__all__ = ["sampled"]


def sampled(*axes: Sequence[Any], keep: int, of: int) -> list[tuple[Any, ...]]:
    """Cells of the table: `keep` of `of` along every line of it, like the squares of one or more colours on a chess board.

    Every value of an axis meets many of every other axis. The sample is the same everywhere, every time.
    """
    cells = list(itertools.product(*(enumerate(axis) for axis in axes)))
    whole = os.environ.get("WHOLE") == "1"
    return [tuple(value for _, value in cell) for cell in cells if whole or sum(at for at, _ in cell) % of < keep]
