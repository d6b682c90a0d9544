"""Load a policy: read, check, merge with what it extends, hash. All mistakes are reported at once, each at its place.

    loaded = load("policies/support.yaml")
    loaded.policy.limits.steps     # frozen, exact values
    loaded.hash                    # "sha256:...", the same for the same meaning, however it is formatted
    loaded.line_of("limits.steps") # (14, 3)

Nothing but PolicyError is raised for what an author wrote, and a policy with any error governs nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path as FilePath
from typing import Any, cast

from pydantic import ValidationError

from governor.errors import PolicyError, PolicyErrors
from governor.policy.checks import complaints, unknown_tiers
from governor.policy.document import Document, Path, parse_mapping, parse_text
from governor.policy.findings import Finding
from governor.policy.merge import tighten
from governor.policy.problems import nearest, place_error, schema_errors
from governor.policy.schema import Policy

__all__ = ["Layer", "LoadedPolicy", "bundled_policies", "load", "policy_hash"]

_MAX_CHAIN = 8
_UNORDERED = frozenset({"budgets", "exceptions", "rates", "rules"})
"""Lists of a policy, and of its `tools` and `nodes`, whose order means nothing."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One file of a chain of policies, as its author wrote it."""

    policy: Policy
    document: Document


@dataclass(frozen=True)
class LoadedPolicy:
    """A policy ready for use: its own file merged with everything it extends."""

    policy: Policy
    """The merged policy."""
    hash: str
    """`sha256:` and the digest of the merged policy's canonical JSON; part of every decision."""
    file: str
    """The file as named by the caller."""
    layers: tuple[Layer, ...] = ()
    """The policy's own file first, then its parents."""

    @cached_property
    def warnings(self) -> tuple[Finding, ...]:
        """What `governor policy check` would warn about."""
        from governor.policy.lint import check  # noqa: PLC0415 - lint reads loaded policies

        return tuple(finding for finding in check(self) if finding.severity != "info")

    def line_of(self, path: str | Sequence[str | int]) -> tuple[int, int]:
        """Line and column, from 1, of a path (`"limits.steps"`, `("budgets", 0)`), or of the nearest thing around it."""
        _, line, column = self.place_of(path)
        return line, column

    def place_of(self, path: str | Sequence[str | int], *, value: bool = False) -> tuple[str, int, int]:
        """File, line and column of a path of the merged policy, in whichever file of the chain it was written."""
        wanted = _as_path(path, self.policy) if isinstance(path, str) else tuple(path)
        for layer in self.layers:
            here = _path_in(layer, self.policy, wanted)
            if here is not None and here in layer.document.marks:
                mark = layer.document.marks[here]
                place = (mark.value_line, mark.value_column) if value else (mark.line, mark.column)
                return (layer.document.file, *place)
        return self.place_of(wanted[:-1]) if wanted else (self.file, 1, 1)

    def error_at(self, path: Path, message: str, remedy: str, rule: str | None = None) -> PolicyError:
        """A mistake at a path of the merged policy, placed in whichever file wrote it. `rule` defaults to the rule around it.

        For what only shows when a policy is put to work, as a missing price does.
        """
        file, line, column = self.place_of(path, value=True)
        around: Any = self.policy
        for step in path[:-1]:
            around = around[step] if isinstance(step, int) else _child(around, step)
        written = bool(self.layers[0].document.marks)
        return PolicyError(
            message,
            file=file,
            line=line if written else None,
            column=column if written else None,
            rule=rule or getattr(around, "id", None),
            remedy=remedy,
        )


def _as_path(dotted: str, policy: Policy) -> Path:
    """A dotted path, list positions as numbers. Rule ids stand for positions: `tools.rules.no-writes`."""
    path: list[str | int] = []
    value: Any = policy
    for part in dotted.split("."):
        if isinstance(value, tuple):
            items = cast("tuple[Any, ...]", value)
            index = (
                int(part)
                if part.isdecimal()
                else next((i for i, x in enumerate(items) if getattr(x, "id", 0) == part), -1)
            )
            value = items[index] if 0 <= index < len(items) else None
            path.append(index if index >= 0 else part)
        else:
            value = cast("dict[str, Any]", value).get(part) if isinstance(value, dict) else getattr(value, part, None)
            path.append(part)
    return tuple(path)


def _path_in(layer: Layer, merged: Policy, path: Path) -> Path | None:
    """The path in one layer of what stands at `path` in the merged policy: rules move when lists are merged."""
    whole: Any = merged
    part: Any = layer.policy
    found: list[str | int] = []
    for step in path:
        if isinstance(step, int) and isinstance(whole, tuple) and isinstance(part, tuple):
            items, own = cast("tuple[Any, ...]", whole), cast("tuple[Any, ...]", part)
            item = items[step] if step < len(items) else None
            same = next((i for i, each in enumerate(own) if _is_same(each, item)), None)
            if same is None:
                return None
            found.append(same)
            whole, part = item, own[same]
        else:
            found.append(step)
            whole, part = _child(whole, step), _child(part, step)
    return tuple(found)


def _child(value: Any, step: str | int) -> Any:
    if isinstance(value, Mapping):
        return cast("Mapping[Any, Any]", value).get(step)
    return getattr(value, str(step), None)


def _is_same(one: Any, other: Any) -> bool:
    rule_id = getattr(other, "id", None)
    return getattr(one, "id", None) == rule_id if rule_id is not None else bool(one == other)


def policy_hash(policy: Policy) -> str:
    """The digest of what a policy means: equal for other formatting, key order or spelling of amounts.

    The order of `tiers` counts (best first); the order of other keys does not. The order of rules counts where the first that
    matches decides (`routing.rules`, `loops.tools`) and of rungs in `ladder`; of tool rules, budgets, rates and exceptions, all of
    which are looked at, it does not.
    """
    meaning = policy.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"extends"})
    meaning["tiers"] = list(meaning["tiers"].items())
    for part in (meaning["tools"], meaning["nodes"], meaning):
        for name in _UNORDERED & part.keys():
            part[name] = sorted(part[name], key=_canonical)
    return f"sha256:{hashlib.sha256(_canonical(meaning).encode()).hexdigest()}"


def _canonical(value: Any) -> str:
    """One text for one value. A rule's text may order rules, because it holds its id and no id is used twice."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def bundled_policies() -> tuple[str, ...]:
    """Names that `extends` and `load` know without a file."""
    folder = resources.files("governor.policy") / "bundled"
    return tuple(sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")))


def load(source: str | FilePath | Mapping[str, Any] | Policy) -> LoadedPolicy:
    """Load a policy from a path, a bundled name, YAML text (several lines), a mapping or a `Policy`.

    Raises PolicyErrors with every mistake found. `source` is never executed and never fetched.
    """
    try:
        document, folder, key = _open(source)
        return _load(document, folder, chain=(key,))
    except PolicyErrors:
        raise
    except PolicyError as error:
        raise PolicyErrors((error,)) from error


def _open(source: str | FilePath | Mapping[str, Any] | Policy) -> tuple[Document, FilePath, str]:
    """The source's document, the folder that `extends` starts from, and a key that tells files apart."""
    if isinstance(source, Policy):
        return parse_mapping(_authored(_dumped(source)), "<policy>"), FilePath(), "<policy>"
    if isinstance(source, Mapping):
        return parse_mapping(source, "<mapping>"), FilePath(), "<mapping>"
    if isinstance(source, str) and "\n" in source:
        return parse_text(source, "<text>"), FilePath(), "<text>"
    if isinstance(source, str) and source in bundled_policies() and not FilePath(source).is_file():
        return _bundled(source), FilePath(), f"bundled:{source}"
    document = _read(FilePath(source), str(source))
    return document, FilePath(source).parent, str(FilePath(source).resolve())


def _dumped(policy: Policy) -> dict[str, Any]:
    return policy.model_dump(by_alias=True, exclude_unset=True)


def _authored(value: Any) -> Any:
    """A dumped policy in the shape an author writes: without absent values, conditions directly under `when`."""
    if isinstance(value, dict):
        return {k: _authored(v) for k, v in cast("dict[str, Any]", value).items() if v is not None}
    if isinstance(value, (list, tuple)):
        return [_authored(item) for item in cast("Sequence[Any]", value)]
    return value


def _bundled(name: str) -> Document:
    text = (resources.files("governor.policy") / "bundled" / f"{name}.yaml").read_text(encoding="utf-8")
    return parse_text(text, f"bundled:{name}")


def _read(path: FilePath, shown: str) -> Document:
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise PolicyError("this is not an ordinary file", file=shown, remedy="Name a policy file.")
        raw = path.read_bytes()
    except FileNotFoundError:
        remedy = f"Check the path. {nearest(shown, bundled_policies())}" if path.suffix == "" else "Check the path."
        raise PolicyError("there is no such policy file", file=shown, remedy=remedy) from None
    except IsADirectoryError:
        raise PolicyError("this is a folder, not a policy file", file=shown, remedy="Name a file in it.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise PolicyError(
            f"this policy cannot be read: {reason}", file=shown, remedy="Check path and permissions."
        ) from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        raise PolicyError(
            "this file is not UTF-8",
            file=shown,
            line=before.count(b"\n") + 1,
            column=error.start - before.rfind(b"\n"),
            remedy="Save it as UTF-8.",
        ) from None
    return parse_text(text, shown)


def _load(document: Document, folder: FilePath, chain: tuple[str, ...]) -> LoadedPolicy:
    errors = list(document.errors)
    policy = _validated(document, errors)
    if policy is None:
        raise PolicyErrors(_in_order(errors))
    own = Layer(policy, document)
    parent = _parent(own, folder, chain) if policy.extends is not None else None
    errors += [place_error(document, *complaint) for complaint in complaints(policy)]
    merged = policy
    if parent is not None:
        merged, loosened = tighten(parent.policy, policy)
        errors += [_loosening(parent, document, *each) for each in loosened]
    layers = (own, *(parent.layers if parent else ()))
    loaded = LoadedPolicy(policy=merged, hash=policy_hash(merged), file=document.file, layers=layers)
    if parent is not None and not errors:
        errors += [loaded.error_at(*complaint) for complaint in complaints(merged)]
    errors += [loaded.error_at(*complaint) for complaint in unknown_tiers(merged)]
    if errors:
        raise PolicyErrors(_in_order(errors))
    return loaded


def _validated(document: Document, errors: list[PolicyError]) -> Policy | None:
    try:
        return Policy.model_validate(document.data, by_alias=True, by_name=False)
    except ValidationError as error:
        errors += schema_errors(document, error)
    except RecursionError:
        errors.append(PolicyError("this policy is nested too deeply", file=document.file, remedy="Flatten it."))
    return None


def _in_order(errors: Sequence[PolicyError]) -> list[PolicyError]:
    return sorted(errors, key=lambda error: (error.line or 0, error.column or 0))


def _loosening(parent: LoadedPolicy, document: Document, path: Path, parent_path: Path, message: str) -> PolicyError:
    file, line, _ = parent.place_of(parent_path)
    remedy = f"A policy may only tighten what it extends; see {file}:{line}."
    return place_error(document, path, message, remedy)


def _parent(own: Layer, folder: FilePath, chain: tuple[str, ...]) -> LoadedPolicy:
    name = own.policy.extends or ""
    if len(chain) > _MAX_CHAIN:
        raise place_error(
            own.document, ("extends",), f"more than {_MAX_CHAIN} policies extend each other", "Merge some."
        )
    if name in bundled_policies():
        document, inner, key = _bundled(name), FilePath(), f"bundled:{name}"
    elif "/" not in name and not name.endswith((".yaml", ".yml")):
        raise place_error(
            own.document, ("extends",), f"there is no bundled policy `{name}`", nearest(name, bundled_policies())
        )
    else:
        path = folder / name
        try:
            key = str(path.resolve())
            if key in chain:
                raise PolicyError("it extends itself in a circle", file=str(path), remedy="Remove one `extends`.")
            document, inner = _read(path, str(path)), path.parent
        except PolicyError as error:
            raise _behind(own, error) from error
        except (OSError, ValueError, RuntimeError):
            raise place_error(own.document, ("extends",), "this is no path", "Name a file.") from None
    return _load(document, inner, (*chain, key))


def _behind(own: Layer, error: PolicyError) -> PolicyError:
    """A parent that cannot be read is a mistake of the file that names it."""
    if error.line is not None:
        return error
    return place_error(
        own.document, ("extends",), f"`{error.file}`: {error.message}", error.remedy or "Check the path."
    )
