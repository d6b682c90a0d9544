"""What a tool's result was, and the signatures that follow from it.

How much of the arguments belongs to a call's identity depends on what came back. A long result that is the same whatever the id
in the arguments was is the same result; "ok" says nothing about whether forty like calls did forty things.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.controls.loop.signatures import canon, canon_text, digest, mask
from governor.loop_state import SeenCall
from governor.values import cheap, maker

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from governor.calls import ToolCall, ToolResult

__all__ = [
    "ACK",
    "CONTENT",
    "EMPTY",
    "ERROR",
    "PENDING",
    "TRANSIENT",
    "CallSignatures",
    "call_signatures",
    "seen_call",
    "short",
]

_seen = maker(SeenCall)

CONTENT, ACK, ERROR, TRANSIENT, EMPTY, PENDING = "content", "ack", "error", "transient", "empty", "pending"

_LONG = 200
"""From this many characters on, a masked result is content that identifies itself; below it may be a mere acknowledgement."""
_HEAD = 600
_NAME = 64

_ERROR = re.compile(
    r"\s*[<\[({\"']{0,3}(?:error|exception|traceback|fatal|failed|failure|invalid|denied)\b", re.IGNORECASE
)
_TRANSIENT = re.compile(
    r"\b(?:429|50[0234]|too many requests|rate.?limit\w*|throttl\w+|timed? ?out|timeout|overloaded|temporar(?:y|ily)"
    r"|(?:service )?unavailable|connection (?:reset|refused|aborted)|bad gateway|econnreset|try again later)\b",
    re.IGNORECASE,
)
_EMPTY = re.compile(
    r"\s*(?:\[\s*\]|\{\s*\}|null|none|nil|\"\""
    r"|(?:sorry,? )?(?:there (?:are|were) )?(?:no|0|zero) (?:\w+ ){0,3}"
    r"(?:results?|match(?:es)?|hits?|records?|rows?|entries|items?|documents?|data|files?|pages?)\b.{0,120}"
    r"|(?:nothing|not) found\b.{0,120})\s*",
    re.IGNORECASE | re.DOTALL,
)
_MISSED = re.compile(
    r"\s*(?:(?:sorry|error|warning|note)\W{1,3})?"
    r"(?:could ?n[o']t|can ?not|can't|unable to|failed to|did not|didn't|no|0|zero|nothing|not)\b"
    r"(?!.{0,30}\b(?:issues?|errors?|problems?|warnings?|violations?|vulnerabilit\w+|conflicts?|changes?|differences?|defects?"
    r"|bugs?|regressions?|failures?)\b)"
    r".{0,40}\b(?:find|found|match\w*|locate\w*|exist\w*|results?|hits?|records?|entries|rows?|such|available)\b",
    re.IGNORECASE | re.DOTALL,
)
"""Nothing was found, said in a sentence that may go on with suggestions. That no problem was found is a finding."""
_PENDING = re.compile(
    r"\b(?:pending|queued|running|processing|in[ _-]?progress|waiting|scheduled|starting|building|provisioning|deploying"
    r"|not (?:yet )?(?:ready|complete[d]?|finished|done|available)|still)\b",
    re.IGNORECASE,
)
_PENDING_WORDS = (
    *("pending", "queued", "running", "processing", "progress", "waiting", "scheduled", "starting", "building"),
    *("provisioning", "deploying", "not ", "still"),
)
"""One of these is in every text that `_PENDING` finds; looking for them first takes a quarter of its time."""
_DIGITS = re.compile(r"[0-9]+")


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class CallSignatures:
    """One call's identity in three degrees; which one counts is known once there is a result."""

    masked: str
    """Name and arguments without ids, moments and hashes: for results that identify themselves."""
    exact: str
    """Name and arguments, ids included."""
    marked: str
    """The same together with the latest answer in words: for acknowledgements, between which other work may have been done."""
    mark: str
    """Digest of that latest answer."""

    def of(self, kind: str) -> str:
        """The signature for a call whose result was of this kind."""
        return {CONTENT: self.masked, ACK: self.marked}.get(kind, self.exact)

    @property
    def all(self) -> tuple[str, str, str]:
        """The three of them: a call with any of these is the same call in some way."""
        return self.masked, self.exact, self.marked

    def __contains__(self, signature: object) -> bool:
        return signature in self.all


_signatures = maker(CallSignatures)


def call_signatures(call: ToolCall, key: Iterable[str] | None, latest: str) -> CallSignatures:
    """The signatures of a call; `key` names the arguments that count, `latest` is the digest of the latest answer in words."""
    args = canon(call.args, key)
    masked, exact = mask(args), digest("call", call.name, args)
    return _signatures(
        masked=exact if masked == args else digest("masked", call.name, masked),
        exact=exact,
        marked=digest(exact, latest) if latest else exact,
        mark=latest,
    )


def seen_call(
    call: ToolCall, result: ToolResult, signatures: CallSignatures, source: str, *, verbatim: bool
) -> tuple[SeenCall, str]:
    """A finished call as signatures, and its masked result.

    `source`: its place (`Around.place`). `verbatim` takes the result as it is (paging: pages may differ in ids alone).
    """
    text = result.text if verbatim else mask(result.text)
    kind = _kind(text, failed=result.failed)
    signature = signatures.of(kind)
    content = digest("failed" if result.failed else "content", text)
    exact = digest(signature, content)
    if kind == CONTENT:
        coarse = content
    elif kind in (ACK, PENDING):
        coarse = exact
    else:
        coarse = digest("fruitless", _DIGITS.sub("#", canon_text(_without_echo(text[:1_000], call.args))))
    seen = _seen(call=signature, outcome=exact, coarse=coarse, name=short(call.name), kind=kind, source=source)
    return seen, text


def short(name: str) -> str:
    """A name or an id as it is remembered: not long, and writable to any store."""
    start = name[:_NAME]
    return start if start.isascii() else start.encode("utf-8", "replace").decode()


def _kind(text: str, *, failed: bool) -> str:
    head = text[:_HEAD]
    if failed or _ERROR.match(head):
        return TRANSIENT if _TRANSIENT.search(head) else ERROR
    if _MISSED.match(head[:200]) is not None:
        return EMPTY
    if len(text) >= _HEAD:
        return CONTENT
    if _EMPTY.fullmatch(head):
        return EMPTY
    if len(text) >= _LONG:
        return CONTENT
    return PENDING if _pending(text) else ACK


def _pending(text: str) -> bool:
    if text.isascii() and not any(map(text.lower().__contains__, _PENDING_WORDS)):
        return False
    return _PENDING.search(text) is not None


def _without_echo(text: str, args: Mapping[str, object]) -> str:
    """An error message without the arguments it quotes: `no such file: a.py` and `no such file: b.py` are one failure."""
    for value in list(args.values())[:16]:
        if isinstance(value, str) and 3 <= len(value) <= 500:
            text = text.replace(value, "@")
    return text
