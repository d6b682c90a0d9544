"""Argument provenance retention (APR): of the values that tool calls were made with, how many the prompt still held.

A value counts when it came from an earlier message. It is retained when some message that holds it is in the prompt verbatim, or a
ledger lists it, or the shown part of a shortened result holds it. A lower bound for summaries, which earn nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from tests.bench.context.corpus import Item, Run

__all__ = ["Use", "atoms", "holds", "message_text", "retained", "uses_of", "values_of"]

_READ, _MOST, _LONGEST = 20_000, 200, 80
_ATOMS = re.compile(
    r"""(?P<quoted>"[^"\n]{4,80}"|'[^'\n]{4,80}'|`[^`\n]{4,80}`)
    |https?://[^\s"'<>)\]}`]+
    |(?<![\w.+-])[\w.+-]++@[\w-]+(?:\.[\w-]+)+
    |(?<![\w.@+~-])~?[\w.@+-]*+(?:/[\w.@+-]++)+/?
    |\#\w*\d\w*
    |(?<!\w)(?:\d{4}-\d\d-\d\d(?:T[\d:.]+Z?)?
    |[A-Za-z]\w*+(?:[.-]\w++)+
    |[A-Za-z][^\W_]*+_\w+
    |[a-z]+\d*[A-Z]\w*|[A-Z][a-z0-9]+[A-Z]\w*
    |(?=[^\W\d]*+\d)(?=[\W\d_]*+[A-Za-z])\w{6,}
    |\d{4,}(?:\.\d+)?)""",
    re.VERBOSE,
)
_NOISE = frozenset({"true", "false", "none", "null", "python", "utf-8"})


class Use(NamedTuple):
    """One tool call with the values that came from earlier messages, and which messages hold each."""

    at: int
    """Position of the calling message."""
    sources: Mapping[str, frozenset[int]]


@lru_cache(maxsize=50_000)
def atoms(text: str) -> frozenset[str]:
    """Identifiers in a text: URLs, addresses, paths, ids, dates, names of code, numbers, short quotations."""
    found: set[str] = set()
    for match in _ATOMS.finditer(text[:_READ]):
        whole = match[0]
        if match["quoted"]:
            found |= {whole[1:-1]} | {inner[0] for inner in _ATOMS.finditer(whole[1:-1])}
        else:
            found.add(whole)
    stripped = (each.rstrip(".,:;") for each in found)
    return frozenset(value for value in stripped if len(value) >= 4 and value.lower() not in _NOISE)


def values_of(arguments: str) -> list[str]:
    """Values of one tool call's arguments, in order, at most 200."""
    try:
        parsed: Any = json.loads(arguments)
    except ValueError:
        parsed = arguments
    found: dict[str, None] = {}
    for leaf in _leaves(parsed):
        text = str(leaf)
        if not isinstance(leaf, str):
            if sum(character.isdigit() for character in text) >= 3:
                found[text] = None
            continue
        whole = 3 <= len(text) <= _LONGEST and "\n" not in text
        if whole:
            found[text] = None
        if not whole or " " in text:
            found |= dict.fromkeys(sorted(atoms(text)))
    return [value for value in found if value.lower() not in _NOISE][:_MOST]


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _leaves(each)
    elif isinstance(value, list):
        for each in value:
            yield from _leaves(each)
    elif value is not None and not isinstance(value, bool):
        yield value


def message_text(message: Mapping[str, Any]) -> str:
    """All that a message says, with an un-escaped copy."""
    calls = message.get("tool_calls") or []
    return readable("\n".join([message.get("content") or "", *(call["function"]["arguments"] for call in calls)]))


def readable(text: str) -> str:
    """A text with an un-escaped copy of itself."""
    if "\\" not in text:
        return text
    return text + "\n" + text.replace('\\"', '"').replace("\\n", "\n").replace("\\/", "/")


def holds(text: str, value: str) -> bool:
    """Whether a text has a value, as a word of its own."""
    start, before, after = 0, _word(value[0]), _word(value[-1])
    while (at := text.find(value, start)) >= 0:
        end = at + len(value)
        if not (before and at and _word(text[at - 1])) and not (after and end < len(text) and _word(text[end])):
            return True
        start = at + 1
    return False


def _word(character: str) -> bool:
    return character.isalnum() or character == "_"


def uses_of(run: Run) -> list[Use]:
    """Every tool call of a run that used a value from an earlier message."""
    texts = [message_text(message) for message in run.messages]
    static = readable(run.system + "\n" + json.dumps(run.tools))
    where: dict[str, list[int]] = {}
    found: list[Use] = []
    for at in run.calls:
        for call in run.messages[at].get("tool_calls") or []:
            sources: dict[str, frozenset[int]] = {}
            for value in values_of(call["function"]["arguments"]):
                if value not in where:
                    here = [] if holds(static, value) else [i for i, text in enumerate(texts) if holds(text, value)]
                    where[value] = here
                earlier = frozenset(i for i in where[value] if i < at)
                if earlier:
                    sources[value] = earlier
            if sources:
                found.append(Use(at, sources))
    return found


def retained(use: Use, items: Sequence[Item], shown: set[int]) -> int:
    """How many of a tool call's values a prompt holds. `shown`: positions of the messages that are in it verbatim."""
    lost = [value for value, sources in use.sources.items() if sources.isdisjoint(shown)]
    if lost:
        others = [item for item in items if item.source < 0 and (item.text or item.entries)]
        lost = [value for value in lost if not any(_lists(item, value) for item in others)]
    return len(use.sources) - len(lost)


def _lists(item: Item, value: str) -> bool:
    return value in item.entries if item.entries is not None else holds(item.text, value)
