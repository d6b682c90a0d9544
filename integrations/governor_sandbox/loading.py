"""Reads a scenario file and turns every mistake into ``file:line: what``."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import yaml
from pydantic import ValidationError

from governor_sandbox.catalogue import Catalogue
from governor_sandbox.errors import ScenarioError
from governor_sandbox.schema import ScenarioFile


def parse_scenario(text: str, source: str) -> ScenarioFile:
    """Parse and validate.

    Raises:
        ScenarioError: The first mistake, with its line.
    """
    try:
        root: Any = yaml.compose(text, Loader=yaml.SafeLoader)
        raw: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else None
        raise ScenarioError(
            f"not YAML: {getattr(error, 'problem', None) or error}", source=source, line=line
        ) from error
    if not isinstance(raw, dict):
        raise ScenarioError("a scenario is a mapping with `rules`", source=source, line=1)
    _refuse_duplicates(root, source)
    try:
        file = ScenarioFile.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ScenarioError(_explain(first), source=source, line=_line(root, first["loc"])) from error
    _refuse_unknown_models(file, root, source)
    return file if file.name else file.model_copy(update={"name": source})


def _refuse_unknown_models(file: ScenarioFile, root: Any, source: str) -> None:
    known = Catalogue.standard().models
    for name, row in file.models.items():
        if row.like is not None and row.like not in known:
            near = get_close_matches(row.like, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ScenarioError(
                f"models.{name}.like: no model {row.like!r}{hint}",
                source=source,
                line=_line(root, ("models", name, "like")),
            )


def _explain(error: Any) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]).lstrip(".")
    if error["type"] == "extra_forbidden":
        return f"{path}: no such key"
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{path}: {message}" if path else message


def _line(root: Any, loc: Sequence[int | str]) -> int:
    """The line of the deepest node on the path; steps that exist only in the schema are passed over."""
    node, line = root, root.start_mark.line
    for part in loc:
        found = _child(node, part)
        if found is not None:
            node, line = found
    return line + 1


def _child(node: Any, part: int | str) -> tuple[Any, int] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == part:
                return value, key.start_mark.line
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part].start_mark.line
    return None


def _refuse_duplicates(node: Any, source: str) -> None:
    """YAML lets the second of two equal keys win silently; a rule lost that way is hard to find."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise ScenarioError(f"key {key.value!r} is given twice", source=source, line=key.start_mark.line + 1)
            seen.add(key.value)
            _refuse_duplicates(value, source)
    elif isinstance(node, yaml.SequenceNode):
        for child in node.value:
            _refuse_duplicates(child, source)
