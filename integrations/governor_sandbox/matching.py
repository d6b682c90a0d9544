"""When a rule applies: conditions on a conversation, every one of which must hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from governor_sandbox.prompt import Conversation, Message, Provider, Role

T = TypeVar("T")


class Strict(BaseModel):
    """Base of everything an author writes: a key nobody knows is a mistake, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _listed(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return value  # pyright: ignore[reportUnknownVariableType] - pydantic judges the items
    return [value]


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return pattern


OneOrMore = Annotated[tuple[T, ...], BeforeValidator(_listed)]
"""A list, or a single value standing for a list of one."""
Pattern = Annotated[str, AfterValidator(_compiles)]


class Count(Strict):
    """A number written as ``2``, or as a range ``{min: 1, max: 3}``, ends included."""

    min: int = 0
    max: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _exact(cls, value: Any) -> Any:
        return {"min": value, "max": value} if isinstance(value, int) and not isinstance(value, bool) else value

    def holds(self, n: int) -> bool:
        """Whether ``n`` is in range."""
        return self.min <= n and (self.max is None or n <= self.max)


class TextMatch(Strict):
    """Conditions on a text; a plain string means ``contains``. Case matters only in ``matches`` and ``equals``.

    ``matches`` is a regular expression searched anywhere; its named groups are ``match.<name>`` in templates. ``glob`` must
    fit the whole text, line breaks included.
    """

    contains: OneOrMore[str] = ()
    lacks: OneOrMore[str] = ()
    matches: Pattern | None = None
    glob: str | None = None
    equals: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        return {"contains": value} if isinstance(value, str) else value

    def groups(self, text: str) -> Mapping[str, str] | None:
        """The named groups when the text fits (maybe none), or None when it does not."""
        folded = text.casefold()
        fits = (
            all(part.casefold() in folded for part in self.contains)
            and not any(part.casefold() in folded for part in self.lacks)
            and (self.glob is None or fnmatchcase(folded, self.glob.casefold()))
            and (self.equals is None or text == self.equals)
        )
        if not fits:
            return None
        if self.matches is None:
            return {}
        found = re.search(self.matches, text)
        return None if found is None else {k: v for k, v in found.groupdict().items() if v is not None}


class MessageMatch(TextMatch):
    """Conditions on one message: its text, its role, and the tools whose results it carries."""

    role: OneOrMore[Role] = ()
    tool: OneOrMore[str] = Field(default=(), description="one of these tools answered in this message")

    def groups_in(self, message: Message) -> Mapping[str, str] | None:
        """As `groups`, for a message; the text of tool results counts as its text."""
        if self.role and message.role not in self.role:
            return None
        if self.tool and not any(result.name in self.tool for result in message.tool_results):
            return None
        texts = [message.text, *(result.text for result in message.tool_results)]
        return self.groups("\n".join(text for text in texts if text))


class When(Strict):
    """All conditions of a rule. An empty ``when`` always holds."""

    model: OneOrMore[str] = Field(default=(), description="globs; one must fit the model id as the client wrote it")
    provider: OneOrMore[Provider] = ()
    system: TextMatch | None = Field(default=None, description="the system prompt")
    task: MessageMatch | None = Field(default=None, description="the first user message")
    last: MessageMatch | None = Field(default=None, description="the newest message")
    history: OneOrMore[MessageMatch] = Field(default=(), description="each must fit some message of the request")
    step: Count | None = Field(default=None, description="assistant messages so far; 0 is the first call")
    called: OneOrMore[str] = Field(default=(), description="tools called so far, all of them")
    not_called: OneOrMore[str] = Field(default=(), description="tools not called so far, none of them")
    calls: dict[str, Count] = Field(default={}, description="how often a tool was called so far")
    offers: OneOrMore[str] = Field(default=(), description="tools bound to this request, all of them")

    def groups(self, talk: Conversation) -> Mapping[str, str] | None:
        """The named groups of all patterns when every condition holds, else None."""
        if not self._bare_facts_hold(talk):
            return None
        texts: list[Mapping[str, str] | None] = [{}]
        if self.system is not None:
            texts.append(self.system.groups(talk.system))
        if self.task is not None:
            texts.append(self.task.groups_in(talk.task))
        texts.extend(_first(wanted.groups_in(m) for m in talk.messages) for wanted in self.history)
        if self.last is not None:
            texts.append(self.last.groups_in(talk.last))
        merged: dict[str, str] = {}
        for groups in texts:
            if groups is None:
                return None
            merged.update(groups)
        return merged

    def _bare_facts_hold(self, talk: Conversation) -> bool:
        called = talk.called
        return (
            (not self.model or any(fnmatchcase(talk.model, glob) for glob in self.model))
            and (not self.provider or talk.provider in self.provider)
            and (self.step is None or self.step.holds(talk.step))
            and all(name in called for name in self.called)
            and not any(name in called for name in self.not_called)
            and all(count.holds(called.count(name)) for name, count in self.calls.items())
            and all(name in talk.tools for name in self.offers)
        )


def _first(candidates: Iterable[Mapping[str, str] | None]) -> Mapping[str, str] | None:
    return next((groups for groups in candidates if groups is not None), None)
