"""What the path is made of: a generator that yields effects, receives their answers and returns a value."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Generic, TypeAlias, TypeVar

__all__ = ["Effect", "Flow", "Value", "ask"]

Value: TypeAlias = str | int | float | bool | tuple[str, ...]
"""What an attribute of a span may be."""

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Effect(Generic[T_co]):
    """A request to the world whose answer has type T."""

    __slots__ = ()


Flow: TypeAlias = Generator[Effect[Any], Any, T]
"""A piece of the path: yields effects, receives their answers, returns T."""


def ask(effect: Effect[T]) -> Flow[T]:
    """Yield one effect and return its answer with its type kept (a generator's send type is Any)."""
    answer: T = yield effect
    return answer
