"""Policy text as plain data plus the place of every key and value.

PyYAML reads YAML 1.1, in which `on`, `no` and `1:30` are a truth value, another one and a number of minutes. A policy is
read as YAML 1.2 (core schema): those are words. Numbers with a point stay exact decimals. Duplicate keys, aliases that
multiply, tags, empty values and anything that is not UTF-8 are errors with file, line and column.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, DecimalException
from typing import Any, cast

import yaml

from governor.errors import PolicyError

__all__ = ["Document", "Mark", "Path", "parse_mapping", "parse_text"]

Path = tuple[str | int, ...]
"""Where something is: `("budgets", 0, "limit", "usd")`."""

_MAX_CHARS = 1_000_000
_MAX_NODES = 50_000
_MAX_DEPTH = 40
_MAX_NUMBER = 100
_FREE_FORM = frozenset({"args", "settings"})
"""Parts passed on unread, in which an empty value may mean something."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Line and column, both from 1, of a key and of its value."""

    line: int
    column: int
    value_line: int
    value_column: int


@dataclass(frozen=True, slots=True)
class Document:
    """One policy text: its data, the places in it, and the mistakes found while reading."""

    file: str
    data: dict[str, Any]
    marks: Mapping[Path, Mark] = field(default_factory=dict[Path, Mark])
    errors: tuple[PolicyError, ...] = ()
    empty: frozenset[Path] = frozenset()
    """Paths whose value was left out; they are already among `errors`."""

    def mark(self, path: Sequence[str | int]) -> Mark | None:
        """The place of the path, or of the nearest thing around it; None when the data came without text."""
        known = tuple(path)
        while known and known not in self.marks:
            known = known[:-1]
        return self.marks.get(known)


_SCALARS = (
    ("null", re.compile(r"null|Null|NULL|~|")),
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE")),
    ("int", re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")),
    (
        "float",
        re.compile(
            r"[-+]?(?:[.][0-9]+|[0-9]+(?:[.][0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?[.](?:inf|Inf|INF)|[.](?:nan|NaN|NAN)"
        ),
    ),
)
"""Plain scalars of YAML 1.2's core schema; whatever matches none of them is text."""


class _Core(yaml.SafeLoader):
    """Scanner, parser and composer of PyYAML with the scalars of YAML 1.2's core schema."""

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        """Name a node's kind. `implicit` is (plain, quoted) for a scalar: quoted text is always text."""
        if kind is not yaml.ScalarNode:
            return "tag:yaml.org,2002:map" if kind is yaml.MappingNode else "tag:yaml.org,2002:seq"
        plain = bool(implicit[0])
        name = next((name for name, pattern in _SCALARS if plain and pattern.fullmatch(value)), "str")
        return f"tag:yaml.org,2002:{name}"


def parse_text(text: str, file: str) -> Document:
    """Read YAML 1.2 text. Raises PolicyError when it is not YAML; lesser mistakes are collected in `errors`."""
    if len(text) > _MAX_CHARS:
        raise PolicyError(
            "this policy is longer than 1,000,000 characters", file=file, remedy="Split it with `extends`."
        )
    try:
        node = yaml.compose(text, Loader=_Core)
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        raise PolicyError(
            "this character is not allowed in YAML",
            file=file,
            line=before.count("\n") + 1,
            column=error.position - before.rfind("\n"),
            remedy="Remove it or write it as an escape in double quotes.",
        ) from None
    except yaml.MarkedYAMLError as error:
        raise _yaml_error(error, file) from None
    except RecursionError:
        raise PolicyError("this policy is nested too deeply to read", file=file, remedy="Flatten it.") from None
    except (ValueError, OverflowError):
        raise PolicyError("this policy has an escape that names no character", file=file, remedy="Remove it.") from None
    if node is None:
        raise PolicyError("this policy is empty", file=file, line=1, column=1, remedy=_BEGIN)
    return _Builder(file).document(node)


_BEGIN = "Begin it with `governor: 1` and `name: ...`."


def _yaml_error(error: yaml.MarkedYAMLError, file: str) -> PolicyError:
    mark = error.problem_mark or error.context_mark
    problem = ", ".join(part for part in (error.context, error.problem) if part)
    remedy = "Indent with spaces, never tabs." if "'\\t'" in problem else "Check indentation, quotes and brackets here."
    if "another document" in problem or "single document" in (error.context or ""):
        remedy = "Keep one policy per file: remove `---` and what follows."
    return PolicyError(
        f"this is not valid YAML: {problem}",
        file=file,
        line=mark.line + 1 if mark else None,
        column=mark.column + 1 if mark else None,
        remedy=remedy,
    )


class _Builder:
    """Turns nodes into data, counting them: an alias counts as everything it stands for."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._nodes = 0
        self._marks: dict[Path, Mark] = {}
        self._errors: list[PolicyError] = []
        self._empty: set[Path] = set()

    def document(self, node: yaml.Node) -> Document:
        if not isinstance(node, yaml.MappingNode):
            raise self._error(node, "a policy is a mapping of keys to values", _BEGIN)
        start = node.start_mark
        self._marks[()] = Mark(start.line + 1, start.column + 1, start.line + 1, start.column + 1)
        data = cast("dict[str, Any]", self._build(node, ()))
        return Document(self._file, data, self._marks, tuple(self._errors), frozenset(self._empty))

    def _error(self, node: yaml.Node, message: str, remedy: str) -> PolicyError:
        mark = node.start_mark
        return PolicyError(message, file=self._file, line=mark.line + 1, column=mark.column + 1, remedy=remedy)

    def _build(self, node: yaml.Node, path: Path) -> Any:
        self._nodes += 1
        if self._nodes > _MAX_NODES or len(path) > _MAX_DEPTH:
            raise self._error(
                node, "this policy grows too large when its aliases are expanded", "Write less with `&` and `*`."
            )
        tag = str(node.tag)
        if isinstance(node, yaml.MappingNode) and tag == "tag:yaml.org,2002:map":
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and tag == "tag:yaml.org,2002:seq":
            return [
                self._item(child, (*path, index)) for index, child in enumerate(cast("list[yaml.Node]", node.value))
            ]
        if isinstance(node, yaml.ScalarNode):
            return self._value(node, tag, path)
        raise self._error(node, f"the tag {tag!r} is not allowed in a policy", "Remove it.")

    def _item(self, node: yaml.Node, path: Path) -> Any:
        mark = node.start_mark
        self._marks[path] = Mark(mark.line + 1, mark.column + 1, mark.line + 1, mark.column + 1)
        return self._build(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        built: dict[str, Any] = {}
        for key_node, value_node in cast("list[tuple[yaml.Node, yaml.Node]]", node.value):
            if not isinstance(key_node, yaml.ScalarNode) or str(key_node.tag) != "tag:yaml.org,2002:str":
                raise self._error(key_node, "a key must be text", 'Put it in quotes, as in `"1": ...`.')
            key = str(key_node.value)
            if key in built:
                first = self._marks[(*path, key)].line
                self._errors.append(
                    self._error(key_node, f"the key `{key}` is here twice, first in line {first}", "Remove one.")
                )
                continue
            at, value = key_node.start_mark, value_node.start_mark
            self._marks[(*path, key)] = Mark(at.line + 1, at.column + 1, value.line + 1, value.column + 1)
            built[key] = self._build(value_node, (*path, key))
        return built

    def _value(self, node: yaml.ScalarNode, tag: str, path: Path) -> Any:
        text = str(node.value)
        kind = tag.removeprefix("tag:yaml.org,2002:")
        if kind == "str":
            return text
        if kind == "bool":
            return text.lower() == "true"
        if kind == "null":
            if not _FREE_FORM.intersection(str(part) for part in path):
                self._empty.add(path)
                self._errors.append(self._error(node, f"`{path[-1]}` has no value", "Give it one, or remove the key."))
            return None
        if kind in ("int", "float"):
            return self._number(node, text)
        raise self._error(node, f"the tag {tag!r} is not allowed in a policy", "Remove it.")

    def _number(self, node: yaml.ScalarNode, text: str) -> int | Decimal:
        try:
            if len(text) > _MAX_NUMBER:
                raise ValueError
            if re.fullmatch(r"[-+]?[0-9]+", text):
                return int(text)
            if text.startswith(("0o", "0x")):
                return int(text, 0)
            return Decimal(re.sub(r"^([-+]?)\.(inf|nan)$", r"\1\2", text, flags=re.IGNORECASE))
        except (ValueError, DecimalException):
            raise self._error(node, "this number cannot be read", "Write an ordinary number.") from None


def parse_mapping(source: Mapping[str, Any], file: str) -> Document:
    """Take data that is already a mapping. It has no lines; empty values and odd keys are errors here too."""
    errors: list[PolicyError] = []
    empty: set[Path] = set()
    budget = [_MAX_NODES]

    def copied(value: Any, path: Path) -> Any:
        budget[0] -= 1
        if budget[0] < 0 or len(path) > _MAX_DEPTH:
            raise PolicyError("this policy is too large or contains itself", file=file, remedy="Write less.")
        if isinstance(value, Mapping):
            pairs = cast("Mapping[Any, Any]", value).items()
            if any(not isinstance(key, str) for key, _ in pairs):
                raise PolicyError(f"a key of `{_dotted(path)}` is not text", file=file, remedy="Use strings as keys.")
            return {key: copied(item, (*path, key)) for key, item in pairs}
        if isinstance(value, (list, tuple)):
            return [copied(item, (*path, index)) for index, item in enumerate(cast("Sequence[Any]", value))]
        if value is None and not _FREE_FORM.intersection(map(str, path)):
            empty.add(path)
            errors.append(
                PolicyError(f"`{_dotted(path)}` has no value", file=file, remedy="Give it one, or remove the key.")
            )
        return value

    data = cast("dict[str, Any]", copied(source, ()))
    if not data:
        raise PolicyError("this policy is empty", file=file, remedy=_BEGIN)
    return Document(file, data, errors=tuple(errors), empty=frozenset(empty))


def _dotted(path: Path) -> str:
    return ".".join(map(str, path))
