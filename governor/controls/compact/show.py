"""How a long tool result is shown: in a shape that depends on the result alone, so that the cached prefix never changes.

JSON keeps its keys and its nesting with long lists cut, a table its heading, its first and last rows and their number; everything else
keeps its beginning, its end, lines that report errors and, if it is code, the lines that define something.
What is left out is counted, and named by a handle that the recall tool reads.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, cast

from governor.controls.compact.notable import definitions, error_lines, names, table_of
from governor.tokens import estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["RECALL_TOOL", "handle_of", "page", "place_of", "shorten"]

RECALL_TOOL = "recall"
"""Name of the tool that reads what was left out. Its own results are never shortened."""

_KEPT = 500
_TAIL_SHARE = 5
"""The default shape: the first 400 and the last 100 tokens, a fifth of what is kept (design notes, ingest cap)."""
_ERROR_SHARE = 5
"""Lines that report errors may take as much as the end, from the beginning's share."""
_CODE_SHARE = 3
"""Definitions of code may take a third, from the beginning's share: they are what is asked for next."""
_NAMES_PERCENT = 60
"""Names of what is left out may take so much again, beside what is kept, where the cap has room for them."""
_POINTER = 60
"""Tokens that the pointer line may take."""
_JSON_LIMIT = 2_000_000
"""Characters beyond which a result is not parsed as JSON."""
_SHAPES = ((20, 1600), (20, 800), (20, 400), (10, 200), (6, 120), (4, 80), (3, 60), (2, 40), (1, 24), (1, 8))
"""Items kept of a list and characters kept of a text, from roomy to tight; the first that fits is used. (Many tools wrap
one long text in JSON: it is shown as far as there is room.)"""


def handle_of(text: str) -> str:
    """The recall handle of a text: the same text always has the same one."""
    return "r-" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def place_of(handle: str) -> tuple[str, int]:
    """The handle and the character from which a recall call reads: `r-1a2b3c4d`, or `r-1a2b3c4d@8000` to read on.

    One argument: a second one would be described, and paid for, in every prompt.
    """
    name, _, offset = handle.strip().partition("@")
    return name, int(offset) if offset.isascii() and offset.isdigit() and len(offset) < 20 else 0


def shorten(text: str, cap: int, *, handle: str | None) -> str | None:
    """`text` in at most `cap` estimated tokens, or None when no shorter form of it exists.

    Args:
        text: The whole result.
        cap: Most tokens of the answer. Below about 30 the pointer line alone may be longer.
        handle: What the recall tool reads the rest by; None when there is no such tool.
    """
    whole = estimate(text)
    budget = min(_KEPT, max(cap - _POINTER, cap // 2))
    for shape in _shapes(text, whole, budget, max(0, cap - _POINTER - budget), handle):
        if estimate(shape) <= cap:
            return shape if estimate(shape) < whole else None
    pointer = _pointer(whole, handle)
    return pointer if estimate(pointer) < whole else None


def page(text: str, offset: int, size: int, handle: str) -> str:
    """One page of a kept text: `size` estimated tokens from character `offset` on. Ends in a line that says how to read on."""
    offset = min(max(0, offset), len(text))
    if offset == len(text):
        return f"[nothing left: the text has {len(text):,} characters]"
    piece = _first(text[offset : offset + 4 * size], size)
    follows = len(text) - offset - len(piece)
    if not follows:
        return piece
    reads = f'{RECALL_TOOL}(handle="{handle}@{len(text) - follows}") reads on'
    return f"{piece}\n[... {follows:,} of {len(text):,} characters follow; {reads}]"


def _shapes(text: str, whole: int, budget: int, room: int, handle: str | None) -> Iterator[str]:
    """Shorter forms of a text, the best first; each is made only if the one before it was too long. `room`: tokens beside the budget."""
    for kept in (budget, budget // 2, budget // 4, budget // 8):
        pruned = _pruned_json(text, kept)
        table = table_of(text) if pruned is None else None
        if pruned is not None:
            yield "\n".join([pruned, *_named(text, pruned, kept, room), _pointer(whole - estimate(pruned), handle)])
        elif table is not None:
            yield table.shown(kept, _pointer(whole - kept, handle))
        else:
            yield _ends(text, whole, kept, room, handle)


def _pointer(left_out: int, handle: str | None) -> str:
    reads = f'; {RECALL_TOOL}(handle="{handle}") reads them' if handle else ""
    return f"[... {max(0, left_out):,} tokens left out{reads}]"


def _named(text: str, shown: str, budget: int, room: int) -> list[str]:
    """A line of names that what is shown does not hold, if there is room for one."""
    line = names(text, shown, min(budget * _NAMES_PERCENT // 100, room))
    return [f"[names among them:] {line}"] if line else []


def _ends(text: str, whole: int, budget: int, room: int, handle: str | None) -> str:
    """Beginning, error lines, definitions, names and end."""
    tail = _last(text, budget // _TAIL_SHARE)
    head = _first(text, budget - budget // _TAIL_SHARE)
    start, stop = len(head), len(text) - len(tail)
    errors = error_lines(text, start, stop, budget // _ERROR_SHARE)
    defined = definitions(text, start, stop, budget // _CODE_SHARE)
    taken = (budget // _ERROR_SHARE if errors else 0) + (budget // _CODE_SHARE if defined else 0)
    if taken:
        head = _first(text, budget - budget // _TAIL_SHARE - taken)
    pieces = [head, tail, *errors, *defined]
    lines = [head.rstrip("\n"), _pointer(whole - sum(map(estimate, pieces)), handle)]
    if errors:
        lines += ["[lines among them that report errors:]", *errors]
    if defined:
        lines += ["[definitions among them:]", *defined]
    lines += _named(text, "\n".join(pieces), budget, room)
    return "\n".join([*lines, tail.lstrip("\n")])


def _first(text: str, tokens: int) -> str:
    """The first tokens of a text, ended at a line or a word where one is near."""
    piece = _within(text[: tokens * 4], tokens, lambda part, size: part[:size])
    if len(piece) == len(text):
        return piece
    for separator, share in (("\n", 2), (" ", 8)):
        end = piece.rfind(separator)
        if end > len(piece) - len(piece) // share:
            return piece[:end]
    return piece


def _last(text: str, tokens: int) -> str:
    """The last tokens of a text, begun at a line or a word where one is near."""
    size = tokens * 4
    piece = _within(text[-size:] if size else "", tokens, lambda part, size: part[len(part) - size :])
    if len(piece) == len(text):
        return piece
    for separator, share in (("\n", 2), (" ", 8)):
        start = piece.find(separator)
        if 0 <= start < len(piece) // share:
            return piece[start + 1 :]
    return piece


def _within(piece: str, tokens: int, clip: Callable[[str, int], str]) -> str:
    """A piece clipped until its estimate fits. Callers pass at most 4 characters a token: no text is thinner to the estimator."""
    while (count := estimate(piece)) > tokens:
        piece = clip(piece, len(piece) * tokens // count)
    return piece


class _Number(str):
    """A number as it was written: 1.10 must not become 1.1 where it is an identifier."""

    __slots__ = ()


def _pruned_json(text: str, budget: int) -> str | None:
    """A JSON object or list with its shape kept and its bulk cut, or None when it is neither or does not fit."""
    if len(text) > _JSON_LIMIT or text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        value = json.loads(text, parse_float=_Number, parse_int=_Number, parse_constant=_Number)
        for items, characters in _SHAPES:
            rendered = _render(value, items, characters)
            if estimate(rendered) <= budget:
                return rendered
    except (ValueError, RecursionError):
        return None
    return None


def _render(value: object, items: int, characters: int) -> str:
    match value:
        case _Number():
            return str(value)
        case str():
            rest = len(value) - characters
            shown = value if rest <= 0 else f"{value[:characters]}... ({rest:,} more characters)"
            return json.dumps(shown, ensure_ascii=False)
        case list():
            listed = cast("list[object]", value)
            parts = [_render(item, items, characters) for item in listed[:items]]
            if len(listed) > items:
                parts.append(f'"... {len(listed) - items:,} more items"')
            return f"[{', '.join(parts)}]"
        case dict():
            pairs = list(cast("dict[str, object]", value).items())
            keys = max(8, 4 * items)
            parts = [
                f"{json.dumps(key, ensure_ascii=False)}: {_render(item, items, characters)}"
                for key, item in pairs[:keys]
            ]
            if len(pairs) > keys:
                parts.append(f'"...": "{len(pairs) - keys:,} more keys"')
            return f"{{{', '.join(parts)}}}"
        case _:
            return json.dumps(value)
