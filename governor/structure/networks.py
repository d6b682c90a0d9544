"""The one import of networkx: made when a graph is first analysed, since it takes a third of a second that most processes never need."""

from __future__ import annotations

from typing import Any

__all__ = ["library"]


def library() -> Any:
    """networkx, without its types: its stubs leave most of what they return unknown."""
    import networkx  # noqa: PLC0415 - see above

    return networkx
