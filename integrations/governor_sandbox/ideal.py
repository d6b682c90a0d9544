"""What an ideal prompt cache would have read: the longest beginning that an earlier prompt of the same model had, marked or not.

It has the provider's limits and no others: the model's minimum and cap, a lifetime that each use renews, readable once the first response
has begun, and only beginnings after which the provider takes a marker (Nova: texts of turns without tools). What is read beside it is the
quality of the markers, whoever places them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from governor_sandbox.catalogue import Model
from governor_sandbox.prompt import Block, Prompt

_MANY_ENTRIES = 200_000
_SHORT_S, _LONG_S = 300.0, 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """A prompt up to and with one of its blocks."""

    digest: bytes
    tokens: int


@dataclass(slots=True)
class Ideal:
    """All beginnings of one sandbox. For one caller at a time: whoever shares it holds a lock."""

    _until: dict[bytes, float] = field(default_factory=dict[bytes, float])
    """Beginning to when it is forgotten, in seconds."""

    def read(self, model: Model, beginnings: Sequence[Beginning], now: float) -> int:
        """Tokens of a prompt that could be read."""
        for each in reversed(beginnings):
            if each.tokens >= model.min_cache_tokens and self._until.get(each.digest, now) > now:
                return each.tokens if model.max_cache_tokens is None else min(each.tokens, model.max_cache_tokens)
        return 0

    def keep(self, beginnings: Sequence[Beginning], now: float, *, hour: bool) -> None:
        """The response has begun: all of the prompt's beginnings can be read from now on."""
        if len(self._until) > _MANY_ENTRIES:
            self._until = {digest: until for digest, until in self._until.items() if until > now}
        until = now + (_LONG_S if hour else _SHORT_S)
        for each in beginnings:
            self._until[each.digest] = max(until, self._until.get(each.digest, until))

    def clear(self) -> None:
        """Forget everything."""
        self._until.clear()


def markable(model: Model, prompt: Prompt) -> Iterator[bool]:
    """Whether the provider takes a marker after each block."""
    with_tools = False
    role = ""
    for block in prompt.blocks:
        if model.cache != "nova":
            yield True
            continue
        speaker, _, rest = block.tag.partition("/")
        with_tools = block.section == "messages" and (bool(rest) or (with_tools and speaker == role))
        role = speaker
        yield block.section != "tools" and not with_tools and _of_a_person(block)


def _of_a_person(block: Block) -> bool:
    return block.section == "system" or block.tag == "user"
