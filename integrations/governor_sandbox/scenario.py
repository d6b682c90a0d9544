"""How the emulated models behave: rules in a file, a Python function, or a recorded trajectory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from governor_sandbox.behaviour import Behaviour, RuleBook, Scripted
from governor_sandbox.catalogue import ModelRow
from governor_sandbox.errors import ScenarioError
from governor_sandbox.faults import Fault
from governor_sandbox.loading import parse_scenario
from governor_sandbox.output import Reply
from governor_sandbox.prompt import Conversation
from governor_sandbox.replay import Replay
from governor_sandbox.schema import ScenarioFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Everything a sandbox needs to know: who answers what, which models exist besides the usual ones, what fails."""

    behaviour: Behaviour
    models: Mapping[str, ModelRow]
    faults: tuple[Fault, ...] = ()
    seed: int = 0
    name: str = ""

    @classmethod
    def load(cls, path: str | Path) -> Scenario:
        """Read a scenario file.

        Raises:
            ScenarioError: It cannot be read, or something in it is wrong; says where.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise ScenarioError(f"cannot be read: {error.strerror}", source=str(path)) from error
        return cls.from_text(text, source=str(path))

    @classmethod
    def from_text(cls, text: str, *, source: str = "<scenario>") -> Scenario:
        """As `load`, for text at hand."""
        return cls.from_file(parse_scenario(text, source))

    @classmethod
    def from_file(cls, file: ScenarioFile) -> Scenario:
        """From an already validated file, for those who build rules in Python."""
        return cls(behaviour=RuleBook(file), models=file.models, faults=file.faults, seed=file.seed, name=file.name)

    @classmethod
    def from_callable(
        cls, function: Callable[[Conversation], Reply | str], *, faults: Sequence[Fault] = (), seed: int = 0
    ) -> Scenario:
        """A function answers every request; it must be safe to call from several threads."""
        return cls(behaviour=Scripted(function), models={}, faults=tuple(faults), seed=seed)

    @classmethod
    def from_trajectory(cls, path: str | Path, *, after_end: Reply | None = None) -> Scenario:
        """Replay recorded conversations; see `governor_sandbox.replay`."""
        return cls(behaviour=Replay.load(Path(path), after_end=after_end), models={})

    @classmethod
    def always(cls, text: str = "ok", **settings: Any) -> Scenario:
        """Every model answers the same."""
        reply = Reply(text=text, **settings)
        return cls.from_callable(lambda _: reply)
