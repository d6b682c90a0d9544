"""A policy in which every rule only observes, and what it would have enforced."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from governor.controls.access import Access, NodeAccess
from governor.policy.rules import Nodes

if TYPE_CHECKING:
    from governor.policy.load import LoadedPolicy

__all__ = ["Observed"]


class Observed:
    """A loaded policy for a replay: `loaded` refuses nothing, `enforces` says which of its rules the author meant to refuse.

    Access is judged by the policy as it is written (`access`, `nodes`): what it says of a call does not depend on what became of others.
    """

    def __init__(self, policy: LoadedPolicy) -> None:
        """Copy the policy with `mode: observe` and without the modes of loops and budgets; soft budgets stay what they are."""
        self.written = written = policy.policy
        self.access, self.nodes = Access(written), NodeAccess(written)
        self._told = {each.id for each in written.budgets if not each.hard or written.mode_of(each.mode) == "observe"}
        self._enforced = {each.id for each in written.budgets} - self._told
        self._loops = written.mode_of(written.loops.mode) == "enforce"
        observed = written.model_copy(
            update={
                "mode": "observe",
                "loops": written.loops.model_copy(update={"mode": None}),
                "budgets": tuple(each.model_copy(update={"mode": None}) for each in written.budgets),
                "nodes": Nodes(),
            }
        )
        self.loaded: LoadedPolicy = dataclasses.replace(policy, policy=observed)

    def enforces(self, control: str, rule: str) -> bool:
        """Whether a live run would have been held to what `rule` of `control` decided."""
        if control == "loop":
            return self._loops
        if rule in self._enforced:
            return True
        return rule not in self._told and self.written.mode == "enforce"
