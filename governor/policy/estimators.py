"""Settings of `routing.estimator`, one shape for each kind. They are read after the schema, since `kind` says which shape is meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field, StrictBool, StrictInt, ValidationError

from governor.policy.base import Name, Section, Text
from governor.policy.problems import nearest
from governor.policy.scalars import NanoUsd, ScalarError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic_core import ErrorDetails

    from governor.policy.checks import Complaint
    from governor.policy.schema import Policy

__all__ = ["CustomSettings", "EncoderSettings", "JudgeSettings", "NoSettings", "estimator_complaints", "settings_of"]

_PATH = ("routing", "estimator", "settings")


class NoSettings(Section):
    """`off` and `hashed` have none."""


class EncoderSettings(Section):
    """A sentence encoder from two local files, and what is read from the space that it maps deltas to."""

    model: Text
    """An ONNX file. A relative path begins at the policy's folder. Nothing is downloaded."""
    tokenizer: Text
    """Its `tokenizer.json`."""
    threads: Annotated[StrictInt, Field(ge=1, le=2)] = 1
    """Threads of one embedding."""
    max_tokens: Annotated[StrictInt, Field(ge=16, le=512)] = 256
    """Where a text is cut."""
    pooling: Literal["mean", "cls"] = "mean"
    """How token states become one vector, where the model answers these."""
    method: Literal["clusters", "failures", "knn", "mean"] = "clusters"
    """`clusters`: the cluster's shrunk gain. `failures`: the upper bound of its failure rate. `knn`: the 50 nearest. `mean`: of
    clusters and knn."""
    when: Literal["uncertain", "always"] = "uncertain"
    """`uncertain`: only where the snapshot's table and n-grams cannot tell whether there is a gain."""


class JudgeSettings(Section):
    """A cheap tier that rates steps by a rubric."""

    tier: Name
    """Who rates. Never routed itself."""
    mode: Literal["shadow", "inline"] = "shadow"
    """`shadow` records ratings and lets the other estimators decide; `inline` waits for them, up to `budget_ms`."""
    budget_ms: Annotated[StrictInt, Field(ge=1, le=10_000)] = 150
    """How long a call waits for its rating. Then the default stands, and the rating serves the next step like it."""
    when: Literal["first", "boundary", "always"] = "boundary"
    """`first`: a run's first model call. `boundary`: calls whose newest message is no tool's result (85% of classifier calls inside
    tool loops were wasted, litellm#38861). `always`: every call."""
    max_cost: NanoUsd | None = None
    """Most that one run may spend on ratings, beside what its budgets allow. Absent: its budgets alone."""
    max_tokens: Annotated[StrictInt, Field(ge=16, le=2_048)] = 96
    """Output limit of the judge's call: the four numbers, and what reasoning the tier cannot do without."""
    send_temperature: StrictBool = True
    """Ask for temperature 0. Turn off for models that refuse the parameter."""


class CustomSettings(Section):
    """An estimator of an installed package. Further keys are the package's own."""

    model_config = ConfigDict(extra="allow")

    name: Name
    """Of its entry point in the group `governor.estimators`."""


_SHAPES: Mapping[str, type[Section]] = {
    "off": NoSettings,
    "hashed": NoSettings,
    "encoder": EncoderSettings,
    "judge": JudgeSettings,
    "custom": CustomSettings,
}
_EXPECTED: Mapping[str, tuple[str, str]] = {
    "int_type": ("expected a whole number", "Write an integer."),
    "bool_type": ("expected true or false", "Write `true` or `false`."),
    "string_type": ("expected text", "Put it in quotes."),
}


def settings_of(kind: str, settings: Mapping[str, Any]) -> Section:
    """The settings of a kind, with their defaults. Raises ValidationError; a policy that was loaded has passed this."""
    return _SHAPES[kind].model_validate(dict(settings))


def estimator_complaints(policy: Policy) -> Iterator[Complaint]:
    """What is wrong with the settings of the policy's estimator."""
    estimator = policy.routing.estimator
    try:
        settings_of(estimator.kind, estimator.settings)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            yield _explained(estimator.kind, detail)


def _explained(kind: str, detail: ErrorDetails) -> Complaint:
    key = str(detail["loc"][0]) if detail["loc"] else ""
    shape, what = _SHAPES[kind], detail["type"]
    if what == "missing":
        message = f"`estimator: {kind}` needs the setting `{key}`"
        return ("routing", "estimator"), message, f"Write `estimator: {{kind: {kind}, settings: {{{key}: ...}}}}`."
    path = (*_PATH, key)
    if what == "extra_forbidden":
        remedy = nearest(key, shape.model_fields) if shape.model_fields else "Remove it."
        return path, f"`estimator: {kind}` has no setting `{key}`", remedy
    context = detail.get("ctx", {})
    if what == "literal_error":
        words = str(context.get("expected")).replace("'", "`")
        return path, f"`{detail['input']}` is not one of {words}", f"Write {words}."
    problem = context.get("error")
    if isinstance(problem, ScalarError):
        return path, f"`{key}`: {problem}", problem.remedy
    message, remedy = _EXPECTED.get(what, (detail["msg"][:1].lower() + detail["msg"][1:], "See policies/README.md."))
    return path, f"`{key}`: {message}", remedy
