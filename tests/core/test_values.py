"""Cheap values are the frozen dataclasses of the standard library, only faster."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.values import cheap, copier, maker, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """What the standard library makes."""

    name: str
    count: int = 0
    tags: list[str] = field(default_factory=list[str])


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Cheap:
    """The same, made cheaply."""

    name: str
    count: int = 0
    tags: list[str] = field(default_factory=list[str])


@cheap
@dataclass(frozen=True, slots=True)
class Positional:
    """Fields by position, as effects have them."""

    name: str
    count: int = 0


@cheap
@dataclass(frozen=True, slots=True)
class Empty:
    """No fields at all."""


names = st.text(max_size=5)
counts = st.integers()
tags = st.lists(names, max_size=3)


@given(names, counts, tags)
def test_a_cheap_value_holds_what_a_plain_one_holds(name: str, count: int, given_tags: list[str]) -> None:
    """Field by field, defaults included."""
    assert dataclasses.asdict(Plain(name=name)) == dataclasses.asdict(Cheap(name=name))
    expected = dataclasses.asdict(Plain(name=name, count=count, tags=given_tags))
    assert expected == dataclasses.asdict(Cheap(name=name, count=count, tags=given_tags))


@given(names, counts)
def test_a_copy_differs_in_the_changed_fields_alone(name: str, count: int) -> None:
    """As `dataclasses.replace` makes it, which works on cheap values too."""
    value = Cheap(name="x", count=7, tags=["t"])
    assert Cheap(name=name, count=count, tags=["t"]) == replace(value, name=name, count=count)
    assert dataclasses.replace(value, count=count) == replace(value, count=count)
    assert Positional("x", count) == replace(Positional("x", 7), count=count)
    assert Empty() == replace(Empty())


@given(names, counts, tags)
def test_what_makers_and_copiers_make_is_what_the_class_and_replace_make(
    name: str, count: int, given_tags: list[str]
) -> None:
    """In value and in class, defaults included."""
    make, change = maker(Cheap), copier(Cheap)
    value = make(name=name, count=count, tags=given_tags)
    assert Cheap(name=name, count=count, tags=given_tags) == value
    assert Cheap(name=name) == make(name=name)
    assert replace(value, count=7) == change(value, count=7)
    assert Positional(name, count) == maker(Positional)(name, count)
    assert (Cheap, Cheap, Empty) == (type(value), type(change(value)), type(maker(Empty)()))


def test_what_a_maker_makes_cannot_be_changed_and_knows_its_fields() -> None:
    """It is filled as something that can be, and is that no longer."""
    value = maker(Cheap)(name="a", tags=["t"])
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, "count", 1)  # noqa: B010 - see below
    with pytest.raises(TypeError):
        maker(Cheap)(colour="red")  # pyright: ignore[reportCallIssue]
    assert [value, value] == [copy.deepcopy(value), pickle.loads(pickle.dumps(value))]
    assert maker(Cheap)(name="a").tags is not maker(Cheap)(name="a").tags


def test_each_value_gets_a_default_of_its_own_from_a_factory() -> None:
    """Shared lists would tie values together."""
    assert Cheap(name="a").tags is not Cheap(name="a").tags


def test_a_cheap_value_cannot_be_changed() -> None:
    """Only its making is faster."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(Cheap(name="a"), "count", 1)  # noqa: B010 - a checker would refuse the plain statement


@pytest.mark.parametrize("arguments", [{}, {"name": "a", "colour": "red"}])
def test_missing_and_unknown_fields_are_refused(arguments: dict[str, str]) -> None:
    """As with any function."""
    with pytest.raises(TypeError):
        Cheap(**arguments)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError):
        replace(Cheap(name="a"), colour="red")


def test_cheap_values_survive_copying_and_pickling() -> None:
    """They travel between processes in reports."""
    value = Cheap(name="a", count=2, tags=["t"])
    assert [value, value] == [copy.deepcopy(value), pickle.loads(pickle.dumps(value))]
