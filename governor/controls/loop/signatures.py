"""Signatures: when two calls count as the same call, and two results as the same result.

A model that repeats itself rarely repeats itself byte for byte: keys change order, a nonce is fresh, a timestamp moves. What
varies without meaning is taken out here, once, so that everything after compares eight bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["VOLATILE_ARGUMENTS", "canon", "canon_text", "digest", "mask"]

_THOUGHTS = frozenset({"taskprogress", "reasoning", "thought", "thoughts", "explanation"})
VOLATILE_ARGUMENTS = frozenset(
    {
        *("requestid", "xrequestid", "traceid", "spanid", "correlationid", "invocationid", "toolcallid"),
        *("timestamp", "ts", "now", "currenttime", "requesttime", "sentat", "nonce", "cachebuster", "idempotencykey"),
        *("attempt", "attempts", "attemptnumber", "retry", "retries", "retrycount", "tryno", "iteration"),
        *_THOUGHTS,
    }
)
"""Arguments that say something about the attempt, not about what is asked for. Compared without case, `_`, `-` and spaces."""

_VOLATILE_RESULTS = re.compile(
    r'"(?=[cdefgilmnrstxCDEFGILMNRSTX])'  # the letters that these names begin with: most names are done with here
    r'(?:(?:x-)?(?:request|trace|span|correlation|invocation|event|message)[_-]?id"\s*:\s*"[^"]{0,200}"'
    r"|(?:timestamp|ts|nonce|etag|now|server_?time|(?:generated|fetched|retrieved|checked)_?at|elapsed(?:_?ms|_?s)?"
    r'|took(?:_?ms)?|duration(?:_?ms|_?s)?|latency(?:_?ms|_?s)?)"\s*:\s*(?:"[^"]{0,200}"|[0-9.]+))',
    re.IGNORECASE,
)

_CHUNK = re.compile(r"[0-9](?:[0-9A-Za-z_.:+-]{5,}| ?(?:ms|seconds|secs?|s)\b)")
"""Where a volatile token may be: a digit and what follows it. One leading character class keeps the search linear and fast
(12 ns a character, against 160 for one alternation of all shapes); what is found is then looked at closely."""

_HEX, _UNIT = "[0-9a-fA-F]", "(?:[mM][sS]|[sS](?:[eE][cC](?:[oO][nN][dD][sS]|[sS])?)?)"
_ZONE = r"(?:[zZ]|[+-][0-9][0-9]:?[0-9][0-9])?"
_TOKEN = re.compile(
    rf"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}"  # uuid
    # a date alone is content, a moment is not
    rf"|[0-9]{{4}}-[0-9][0-9]-[0-9][0-9][tT][0-9][0-9]:[0-9][0-9](?::[0-9][0-9](?:\.[0-9]+)?)?{_ZONE}"
    rf"|[0-9][0-9]:[0-9][0-9]:[0-9][0-9](?:\.[0-9]+)?{_ZONE}"
    r"|1[5-9][0-9]{8}(?:[0-9]{3})?(?:\.[0-9]+)?"  # epoch, seconds or milliseconds, 2017 to 2033
    rf"|(?:0[xX])?(?=[0-9]*[a-fA-F]){_HEX}{{12,128}}"  # hashes, trace ids, addresses
    rf"|[0-9]+(?:\.[0-9]+)? ?{_UNIT}"
)
_BEFORE_DURATION, _BEFORE_HEX, _BEHIND = "0123456789.", "abcdefABCDEF-x0", ".:+-_"
_BEFORE = _BEFORE_DURATION + _BEFORE_HEX
"""Both cases are written out: a pattern that ignores case takes three times as long."""

_TEMPORARY = re.compile(r"/(?:tmp|var/folders)/[\w.+-]*(?:/[\w.+-]+)?")

_COUNTER = re.compile(r"\b(iteration|attempt|retry)([ #:_=]{0,3})[0-9]{1,6}\b", re.IGNORECASE)
"""How often it was tried is not what came of it. `step` and `page` are not here: they may be progress."""

_JSON = json.JSONEncoder(
    sort_keys=True, ensure_ascii=True, check_circular=False
)  # what is encoded is a tree of known depth
_WHOLE = 20_000
"""Results up to this many characters are masked whole; of longer ones the first and last `_EDGE` are. Everything is digested."""
_EDGE = 4_000
_LONG_ARGUMENT = 4_096
_MAX_NESTING = 8
_LONG_NUMBER = 1_024
"""Bits of a whole number from which on it is compared in hexadecimal: Python writes none of more than 4,300 decimal digits."""


def digest(*parts: str) -> str:
    """Eight bytes of BLAKE2b over the parts, as 16 hex digits. Parts are length-framed, so no two lists collide by joining."""
    framed: list[bytes] = []
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        framed += (len(data).to_bytes(8, "big"), data)
    return hashlib.blake2b(b"".join(framed), digest_size=8).hexdigest()


def canon(args: Mapping[str, object], key: Iterable[str] | None = None) -> str:
    """The canonical text of arguments: JSON in strings parsed, keys sorted, white space and case levelled, volatile keys gone.

    With `key`, only these top-level arguments count, volatile or not: the policy's author knows better.
    """
    if key is not None:
        kept = {name: _canon(args[name], 1) for name in key if name in args}
        return _JSON.encode(kept)
    kept = _canon(args, 0)
    if not kept and args:  # a tool for thinking aloud has nothing but thoughts
        kept = {name: _canon(value, 1) for name, value in args.items() if _plain(name) in _THOUGHTS}
    return _JSON.encode(kept)


def _canon(value: object, depth: int) -> Any:
    if isinstance(value, str):
        return _canon_string(value, depth)
    if value is None or isinstance(value, (int, float)):
        return _shown(value) if isinstance(value, int) and value.bit_length() > _LONG_NUMBER else value
    if depth >= _MAX_NESTING:
        return digest(_shown(value))
    if isinstance(
        value, (dict, Mapping)
    ):  # the plain class first: asking an abstract one takes longer than all the rest
        items = cast("Mapping[object, object]", value).items()
        return {
            key: _canon(item, depth + 1) for name, item in items if item is not None and not _volatile(key := str(name))
        }
    if isinstance(value, (list, tuple)):
        return [_canon(item, depth + 1) for item in cast("list[object]", value)]
    return _shown(value)


def _shown(value: object) -> str:
    try:
        return hex(value) if isinstance(value, int) else repr(value)
    except Exception:  # noqa: BLE001 - nested a thousand deep, or of a class that cannot be shown: the same only by being so
        return f"a {type(value).__name__}"


def _canon_string(text: str, depth: int) -> Any:
    if len(text) > _LONG_ARGUMENT:  # a file's content: the exact text is what identifies it
        return digest(text)
    stripped = text.strip()
    if depth < _MAX_NESTING and stripped[:1] in ("{", "["):
        try:
            return _canon(json.loads(stripped), depth + 1)
        except (ValueError, RecursionError):
            pass
    return canon_text(stripped)


def canon_text(text: str) -> str:
    """White space collapsed, case folded."""
    return " ".join(text.split()).casefold()


def _volatile(name: str) -> bool:
    return (name if name.isalpha() and name.islower() else _plain(name)) in VOLATILE_ARGUMENTS


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").replace(" ", "").lower()


def mask(text: str) -> str:
    """`text` without what changes from one call to the next of itself: ids, moments, durations, hashes, temporary paths.

    A text that is mostly made of such tokens is left as it is: there they are the content (a queue that hands out ids).
    """
    if len(text) > _WHOLE:
        between = text[_EDGE:-_EDGE]
        middle = digest(str(len(between)), str(zlib.crc32(between.encode("utf-8", "surrogatepass"))))
        return f"{_mask(text[:_EDGE])}\0{middle}\0{_mask(text[-_EDGE:])}"
    return _mask(text)


def _mask(text: str) -> str:
    shown = _VOLATILE_RESULTS.sub("~", text) if text[:1] in ("{", "[") else text
    if "/tmp/" in shown or "/var/folders/" in shown:  # noqa: S108 - looked for, not used
        shown = _TEMPORARY.sub("~", shown)
    if "teration" in shown or "ttempt" in shown or "etry" in shown:
        shown = _COUNTER.sub(r"\1", shown)
    parts: list[str] = []
    done = removed = 0
    for found in _CHUNK.finditer(shown):
        start, end = found.span()
        if shown[end - 1] in _BEHIND or (start > done and shown[start - 1] in _BEFORE):
            start, end = _token(shown, start, end, done)
        elif _TOKEN.fullmatch(shown, start, end) is None:
            continue
        if end > start:
            parts += (shown[done:start], "~")
            removed += end - start
            done = end
    if not parts or removed * 2 > len(shown):
        return shown
    parts.append(shown[done:])
    return "".join(parts)


def _token(text: str, start: int, end: int, floor: int) -> tuple[int, int]:
    """The volatile token around a chunk, as (start, end); an empty one when the chunk is content.

    A chunk starts at its first digit, so hex letters (and, for a duration, digits) before it are taken in first.
    """
    chunk_end = end
    while chunk_end > start and text[chunk_end - 1] in _BEHIND:
        chunk_end -= 1
    before = _BEFORE_DURATION if chunk_end - start <= 9 and text[chunk_end - 1] in "sS" else _BEFORE_HEX
    begin = start
    while begin > floor and start - begin < 36 and text[begin - 1] in before:
        begin -= 1
    if begin > floor and (text[begin - 1].isalnum() or text[begin - 1] == "_"):
        begin = start
    if _TOKEN.fullmatch(text, begin, chunk_end):
        return begin, chunk_end
    return (start, chunk_end) if begin < start and _TOKEN.fullmatch(text, start, chunk_end) else (start, start)
