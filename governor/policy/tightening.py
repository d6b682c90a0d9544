"""The few ways in which one value may tighten another, and the record of attempts to loosen."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Collection

    from governor.policy.document import Path
    from governor.policy.schema import Policy, Section

__all__ = ["Loosening", "Tightening"]

S = TypeVar("S", bound="Section")


class Loosening(NamedTuple):
    """An attempt to loosen: where in the child, where in the parent, and what it would do."""

    path: Path
    parent_path: Path
    message: str


class Tightening:
    """One merge of a child into a parent."""

    def __init__(self, parent: Policy, child: Policy) -> None:
        self.parent = parent
        self.child = child
        self.loosened: list[Loosening] = []

    def loosen(self, path: Path, message: str, parent_path: Path | None = None) -> None:
        """Note an attempt to loosen; the merge goes on with the parent's value."""
        self.loosened.append(Loosening(path, path if parent_path is None else parent_path, message))

    def smallest(
        self, path: Path, parent: S, child: S, *, only: Collection[str] | None = None, parent_path: Path | None = None
    ) -> S:
        """The parent with each limit lowered to the child's. An explicit larger limit in the child is noted."""
        updates: dict[str, Any] = {}
        for name in type(parent).model_fields if only is None else only:
            ours, theirs = getattr(parent, name), getattr(child, name)
            if name not in child.model_fields_set or theirs is None:
                continue
            if ours is None or name not in parent.model_fields_set or theirs <= ours:
                updates[name] = theirs
                continue
            key = type(parent).model_fields[name].alias or name
            message = (
                f"`{'.'.join(map(str, (*path, key)))}` is {theirs.written}, above the {ours.written} it may only lower"
            )
            self.loosen((*path, key), message, (*(path if parent_path is None else parent_path), key))
        return parent.model_copy(update=updates)

    def unchanged(
        self, path: Path, parent: S, child: S, *, but: Collection[str] = (), closed: Collection[str] = ()
    ) -> S:
        """The child's values where the parent has none. A different value for one the parent has is noted.

        What is `closed` the child may not give either where the parent leaves it out.
        """
        updates: dict[str, Any] = {}
        for name in child.model_fields_set - set(but):
            ours, theirs = getattr(parent, name), getattr(child, name)
            dotted = ".".join(map(str, (*path, name)))
            if name in closed and not ours and theirs:
                self.loosen(
                    (*path, name), f"`{dotted}` is left out by the policy this one extends, and that is its word"
                )
            elif name not in parent.model_fields_set or ours is None:
                updates[name] = theirs
            elif ours != theirs:
                self.loosen((*path, name), f"`{dotted}` is set by the policy this one extends")
        return parent.model_copy(update=updates)

    @staticmethod
    def replaced(parent: S, child: S) -> S:
        """The parent with everything the child sets, for what is a choice rather than a limit."""
        return parent.model_copy(update={name: getattr(child, name) for name in child.model_fields_set})

    def ranked(self, path: tuple[str, ...], weakest_first: tuple[str, ...], *, even_unset: bool = False) -> str:
        """The stricter of two words. A weaker word that the child writes down is noted.

        With `even_unset` the parent's default binds as if it had been written.
        """
        ours, theirs = (reduce(getattr, path, cast("Any", policy)) for policy in (self.parent, self.child))
        holder = reduce(getattr, path[:-1], cast("Any", self.child))
        base = reduce(getattr, path[:-1], cast("Any", self.parent))
        if path[-1] not in holder.model_fields_set:
            return ours
        binds = even_unset or path[-1] in base.model_fields_set
        if binds and weakest_first.index(theirs) < weakest_first.index(ours):
            self.loosen(path, f"`{'.'.join(path)}` is `{theirs}`, weaker than `{ours}`")
            return ours
        return theirs
