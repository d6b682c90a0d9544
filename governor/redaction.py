"""Takes personal data and secrets out of text, and leaves a numbered name in their place.

A table of patterns, each with a check where its form alone says too little: a card number must have the right check digit. Patterns find
what has a form; names of people and places have none and stay. What stands for one value is the same wherever it comes again, so that a
tool call still refers to what the user wrote: `<email_1>`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from governor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["KINDS", "Redactor"]


def _digits(text: str) -> str:
    return "".join(each for each in text if each.isascii() and each.isdigit())


def _luhn(text: str) -> bool:
    """Whether the digits end with their check digit (ISO/IEC 7812-1, annex B): nine of ten other numbers do not."""
    digits = [int(each) for each in reversed(_digits(text))]
    doubled = (each * 2 - 9 * (each > 4) for each in digits[1::2])
    return 13 <= len(digits) <= 19 and (sum(digits[::2]) + sum(doubled)) % 10 == 0 and any(digits)


def _iban(text: str) -> bool:
    """Whether an account number has the right check digits (ISO 13616: 1 modulo 97)."""
    plain = "".join(text.split()).upper()
    turned = plain[4:] + plain[:4]
    return 15 <= len(plain) <= 34 and int("".join(str(int(each, 36)) for each in turned)) % 97 == 1


def _phone(text: str) -> bool:
    """Whether there are as many digits as a number has: 7 to 15 (E.164)."""
    return 7 <= len(_digits(text)) <= 15


@dataclass(frozen=True, slots=True)
class _Kind:
    pattern: re.Pattern[str]
    holds: Callable[[str], bool] | None = None
    group: int = 0
    """Which part is taken out."""


_NAMED = (
    r"(?:pass(?:word|wd|phrase)?|pwd|secret[_\-]?(?:access[_\-]?)?key|secret|(?:access|auth|refresh|id)[_\-]?token|token|api[_\-]?key"
    r"|client[_\-]?secret|private[_\-]?key)(?:[_\-](?:\d+|dev|live|new|old|prod|production|staging|test))?"
)
_SECRET_NAME = re.compile(
    rf"(?i:(?:^|[_\-.])(?:{_NAMED}|authorization)$)|(?<=[a-z0-9])(?:Secret|Password|Token|(?:Api|Secret|Private)Key)$"
)
_OWN = re.compile(r"<[a-z_]+_\d+>")
"""What stands for something that was taken out already."""

KINDS: Mapping[str, _Kind] = {
    "api_key": _Kind(
        re.compile(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
            r"|\b(?:sk|pk|rk)[-_](?:[A-Za-z0-9]+[-_])*[A-Za-z0-9_\-]{16,}"
            r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
            r"|\b(?:ghp|gho|ghu|ghs|ghr|github_pat|glpat|xox[abeprs]|xapp|whsec|npm|hf)[-_][A-Za-z0-9_\-]{16,}"
            r"|\bSG\.[A-Za-z0-9_\-]{16,}\.[A-Za-z0-9_\-]{16,}"
            r"|\bAIza[A-Za-z0-9_\-]{35}"
            r"|\beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]*"
            r"|(?i:(?<=authorization: basic )[A-Za-z0-9+/]{4,}=*)"
            r"|(?i:(?<=bearer )[A-Za-z0-9._~+/\-]{16,}=*)",
            re.DOTALL,
        )
    ),
    "secret": _Kind(
        re.compile(
            rf"(?i)(?<![A-Za-z]){_NAMED}[\"']?\s*(?:[:=]|\bis\b)\s*[\"']?"
            r"((?<=\")[^\"\n]+(?=\")|(?<=')[^'\n]+(?=')|[^\s\"',;]{4,})"
        ),
        group=1,
    ),
    "email": _Kind(re.compile(r"[A-Za-z0-9._%+\-]+@(?:[A-Za-z0-9](?:[A-Za-z0-9\-]*[A-Za-z0-9])?\.)+[A-Za-z]{2,}")),
    "iban": _Kind(re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{2,4}){3,8}\b"), _iban),
    "card_number": _Kind(re.compile(r"(?<![\d.])\d(?:[ \-]?\d){12,18}(?![\d])"), _luhn),
    "us_ssn": _Kind(re.compile(r"(?<![\d\-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d\-])")),
    "phone": _Kind(
        re.compile(
            r"(?<![\w+.])(?:\+\d{1,3}[ \-.]?(?:\(\d{1,4}\)[ \-.]?)?\d{1,4}(?:[ \-.]?\d{2,4}){1,4}"
            r"|\(\d{3}\) ?\d{3}[ \-.]\d{4}|\d{3}[\-.]\d{3}[\-.]\d{4})(?![\w])"
        ),
        _phone,
    ),
}
"""Kind to what it looks like, in the order in which they are looked for: a secret goes before what its text may also look like.

Forms of keys: those that GitHub, GitLab, AWS, OpenAI, Stripe, Slack, Google, npm and Hugging Face document for their own, JSON Web Tokens
(RFC 7519) and PEM blocks (RFC 7468). Phone numbers: international with `+`, and those of North America."""


class Redactor:
    """Takes the named kinds out of text and values. One for each run, since it numbers what it has found."""

    def __init__(self, kinds: Iterable[str] = tuple(KINDS)) -> None:
        """`kinds` as in `KINDS`. Raises ConfigurationError for one that is not known: nothing stays in by a misspelling."""
        given = set(kinds)
        unknown = sorted(given - set(KINDS))
        if unknown:
            raise ConfigurationError(
                f"no pattern for data of the kind {', '.join(unknown)}. Known kinds: {', '.join(KINDS)}."
            )
        self._kinds = {name: kind for name, kind in KINDS.items() if name in given}
        self._names: dict[tuple[str, str], str] = {}
        self.found: dict[str, int] = {}
        """Kind to how often something of it was taken out."""

    def text(self, text: str) -> str:
        """The text without them."""
        for name, kind in self._kinds.items():
            text = kind.pattern.sub(lambda match, name=name, kind=kind: self._replaced(match, name, kind), text)
        return text

    def value(self, value: Any, key: str = "", *, secret: bool = False) -> Any:
        """A JSON value without them, keys kept. Under a key that names a secret (`secret`: one above), whatever stands there is one."""
        secret = secret or ("secret" in self._kinds and _SECRET_NAME.search(key) is not None)
        if isinstance(value, dict):
            items = cast("dict[str, Any]", value).items()
            return {name: self.value(each, name, secret=secret) for name, each in items}
        if isinstance(value, list):
            return [self.value(each, key, secret=secret) for each in cast("list[Any]", value)]
        if secret and value not in ("", None) and not isinstance(value, bool):
            return self._name("secret", str(value))
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, int) and not isinstance(value, bool):
            shown = self.text(str(value))
            return value if shown == str(value) else shown
        return value

    def _replaced(self, match: re.Match[str], name: str, kind: _Kind) -> str:
        whole, part = match.group(), match.group(kind.group)
        if _OWN.match(part):
            return whole
        start, piece = match.start(kind.group) - match.start(), _holding(part, kind)
        if piece is None:
            return whole
        first, last = start + piece[0], start + piece[1]
        rest = kind.pattern.sub(lambda again: self._replaced(again, name, kind), whole[last:])
        return f"{whole[:first]}{self._name(name, whole[first:last])}{rest}"

    def _name(self, kind: str, found: str) -> str:
        self.found[kind] = self.found.get(kind, 0) + 1
        known = self._names.get((kind, found))
        if known is None:
            number = sum(each == kind for each, _ in self._names) + 1
            known = self._names[kind, found] = f"<{kind}_{number}>"
        return known


def _holding(part: str, kind: _Kind) -> tuple[int, int] | None:
    """Where in a match the value is: all of it, or, where other digits stand before or after, the longest of its groups that is one."""
    if kind.holds is None or kind.holds(part):
        return 0, len(part)
    groups = [(each.start(), each.end()) for each in re.finditer(r"[^ \-]+", part)]
    pieces = sorted(((first, last) for first, _ in groups for _, last in groups if first < last), key=_longest_first)
    return next((each for each in pieces if _is_whole(part[each[0] : each[1]], kind)), None)


def _longest_first(piece: tuple[int, int]) -> tuple[int, int]:
    return piece[0] - piece[1], piece[0]


def _is_whole(text: str, kind: _Kind) -> bool:
    return kind.holds is not None and kind.pattern.fullmatch(text) is not None and kind.holds(text)
