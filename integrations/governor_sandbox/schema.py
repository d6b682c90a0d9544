"""The scenario file as pydantic sees it: what an author may write, and nothing else."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from governor_sandbox import templates
from governor_sandbox.catalogue import ModelRow
from governor_sandbox.faults import Fault
from governor_sandbox.matching import Strict, When

Template = Annotated[str, AfterValidator(templates.check)]


class CallRow(Strict):
    """A tool call in a reply; strings in ``args`` are templates. ``for_each`` makes one call per ``item`` of a list."""

    name: Template
    args: Annotated[dict[str, Any], AfterValidator(templates.check)] = Field(default={})
    for_each: Template | None = None


class ReplyRow(Strict):
    """A reply as written; see `governor_sandbox.output.Reply`. A plain string means ``text``."""

    text: Template = ""
    tool_calls: tuple[CallRow, ...] = ()
    reasoning_tokens: int | None = Field(default=None, ge=0)
    pad_to_tokens: int | None = Field(default=None, ge=0)
    latency_ms: int | None = Field(default=None, ge=0)
    chunk_tokens: int | None = Field(default=None, ge=1)
    chunk_delay_ms: int | None = Field(default=None, ge=0)
    finishes_unread: bool | None = None
    ignores_limit: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        return {"text": value} if isinstance(value, str) else value


class Defaults(Strict):
    """What replies have that do not say otherwise."""

    reasoning_tokens: int = Field(default=0, ge=0)
    pad_to_tokens: int = Field(default=0, ge=0)
    latency_ms: int = Field(default=0, ge=0)
    chunk_tokens: int = Field(default=8, ge=1)
    chunk_delay_ms: int = Field(default=0, ge=0)
    finishes_unread: bool = False
    ignores_limit: bool = False


class Rule(Strict):
    """If ``when`` holds, ``reply``. ``times`` limits how many requests it answers before it is passed over."""

    name: str = ""
    when: When = When()
    reply: ReplyRow
    times: int | None = Field(default=None, ge=1)


class ScenarioFile(Strict):
    """The whole file. The first rule that applies answers; without one and without ``default`` the request is refused."""

    version: int = Field(default=1, ge=1, le=1)
    name: str = ""
    description: str = ""
    seed: int = 0
    defaults: Defaults = Defaults()
    models: dict[str, ModelRow] = Field(default={})
    rules: tuple[Rule, ...] = ()
    default: ReplyRow | None = None
    faults: tuple[Fault, ...] = ()
