"""The one place where a policy's estimator is made: `build`.

`hashed` is what the snapshot itself learned (table and n-grams). `encoder` and `custom` come through the entry point group
`governor.estimators`: the name is `encoder`, or what `settings.name` of a custom one says; the object is a function of `Asked` that answers
an `Estimator`, or None to leave the step to the snapshot's. `judge` reads the ratings that the path asks for.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, cast

from governor.errors import ConfigurationError, RoutingError
from governor.routing.judge import DEFAULT_WEIGHTS, Judge, Ratings, read_weights
from governor.routing.learned import SnapshotEstimator, band_of
from governor.routing.table import TableEstimator
from governor.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from governor.policy.load import LoadedPolicy
    from governor.routing.estimate import Estimate, Estimator, StepFeatures
    from governor.routing.records import PairedOutcome
    from governor.routing.snapshot import Snapshot
    from governor.routing.training import Teach

    Learn = Callable[["Asked", Sequence[PairedOutcome]], Mapping[str, object]]

__all__ = ["GROUP", "SECTIONS", "Asked", "InBand", "build", "estimator_of", "teaching"]

GROUP, SECTIONS = "governor.estimators", "governor.estimator_sections"
_PATH = ("routing", "estimator")
_NO_SECTIONS: Mapping[str, Mapping[str, object]] = {}
_log = logging.getLogger("governor.routing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an estimator is made from."""

    settings: Mapping[str, object]
    """`routing.estimator.settings` of the policy, without `name`."""
    sections: Mapping[str, Mapping[str, object]] = field(default_factory=dict[str, "Mapping[str, object]"])
    """Those of the promoted snapshot, by name; empty where none is promoted."""
    base_dir: Path
    """The folder of the policy's file, which relative paths begin at."""
    warn: Callable[[str], None] = _log.warning
    """Says aloud why an estimator is off."""

    def section(self, name: str) -> Mapping[str, object] | None:
        """A section of the snapshot, if it has one."""
        return self.sections.get(name)

    def file(self, name: str) -> Path:
        """The path that a setting names. Raises ConfigurationError when it names none."""
        value = self.settings.get(name)
        if not isinstance(value, str) or not value:
            raise ConfigurationError(f"routing.estimator.settings.{name}: name a local file.")
        return self.base_dir / Path(value).expanduser()


class InBand:
    """A quick estimator, and a slow one for the steps of which the quick one cannot tell whether there is a gain."""

    def __init__(self, first: Estimator, then: Estimator) -> None:
        """`first` is asked at every step."""
        self._first, self._then = first, then

    def estimate(self, step: StepFeatures) -> Estimate | None:
        """What the first says, where its whole interval is above 0 or is not; else what the second says, if it says anything."""
        quick = self._first.estimate(step)
        if quick is not None and not quick.low <= 0 < quick.high:
            return quick
        return self._then.estimate(step) or quick


class _Recorded:
    """An estimator that abstains at nodes of which nothing is recorded: what was learned elsewhere says nothing of them."""

    def __init__(self, table: TableEstimator, of: Estimator) -> None:
        self._table, self._of = table, of

    def estimate(self, step: StepFeatures) -> Estimate | None:
        return None if self._table.estimate(step) is None else self._of.estimate(step)


class _OnlyRaises:
    """The snapshot's own estimator, and another one whose word counts where it asks for the better tier sooner.

    What `quality` promises was counted by the snapshot's own: no gain below that is proven, whoever says it. A judge reads text that
    somebody else wrote.
    """

    def __init__(self, own: Estimator, other: Estimator) -> None:
        self._own, self._other = own, other

    def estimate(self, step: StepFeatures) -> Estimate | None:
        own, other = self._own.estimate(step), self._other.estimate(step)
        return other if own is not None and other is not None and other.gain > own.gain else own


class _Or:
    """An estimator, and another one where it abstains."""

    def __init__(self, first: Estimator, then: Estimator) -> None:
        self._first, self._then = first, then

    def estimate(self, step: StepFeatures) -> Estimate | None:
        return self._first.estimate(step) or self._then.estimate(step)


def build(
    kind: str,
    settings: Mapping[str, object],
    sections: Mapping[str, Mapping[str, object]] | None,
    base_dir: Path,
    *,
    default: Estimator | None = None,
    ratings: Ratings | None = None,
) -> Estimator | None:
    """The estimator of a policy; None where there is none to ask, and the upper tier answers.

    `sections`: those of the promoted snapshot. `default`: the estimator that the snapshot itself is (table, hashed); whatever another kind
    leaves open is left to it. `ratings`: what the path's judge knows. Raises ConfigurationError for what the author of the policy has to
    put right, RoutingError for a snapshot that cannot be read.
    """
    known = _NO_SECTIONS if sections is None else sections
    if kind == "off":
        return None
    if kind == "hashed":
        return default
    if kind == "judge":
        return _judge(settings, known, default, Ratings() if ratings is None else ratings)
    if kind == "encoder":
        made = _entry("encoder", Asked(settings=settings, sections=known, base_dir=base_dir))
        if made is not None and default is not None and settings.get("when", "uncertain") == "uncertain":
            return InBand(default, made)
        return _either(made, default)
    if kind == "custom":
        name = str(settings.get("name", ""))
        rest = {key: value for key, value in settings.items() if key != "name"}
        return _either(_entry(name, Asked(settings=rest, sections=known, base_dir=base_dir)), default)
    raise ConfigurationError(
        f"routing.estimator: there is no kind `{kind}`. Use off, hashed, encoder, judge or custom."
    )


def estimator_of(loaded: LoadedPolicy, ratings: Ratings | None = None) -> Callable[[Snapshot], Estimator]:
    """What makes the policy's estimator from the promoted snapshot; the snapshot's own where there is no other to ask.

    Raises PolicyError at the estimator's place in the file.
    """

    def make(snapshot: Snapshot) -> Estimator:
        routing = loaded.policy.routing
        own = SnapshotEstimator(snapshot, band=band_of(snapshot, routing))
        given = {"encoder": snapshot.encoder, "judge": snapshot.judge}
        sections = {name: section for name, section in given.items() if section is not None}
        kind, settings = routing.estimator.kind, routing.estimator.settings
        base = Path(loaded.place_of(_PATH)[0]).parent
        try:
            made = build(kind, settings, sections, base, default=own, ratings=ratings)
        except (ConfigurationError, RoutingError) as error:
            remedy = "Put that right, or choose `estimator: hashed`."
            raise loaded.error_at(_PATH, str(error), remedy) from error
        if made is not None and kind in ("encoder", "judge") and snapshot.table:
            made = _Recorded(TableEstimator(snapshot.table), made)
        if made is not None and routing.quality is not None and kind in ("judge", "custom"):
            made = _OnlyRaises(own, made)
        return made or own

    return make


def teaching(loaded: LoadedPolicy) -> Teach | None:
    """What a snapshot is taught beside its own table and n-grams, for `training.train`; None where its estimator learns no more.

    With an encoder it is the `encoder` section, by the entry point group `governor.estimator_sections`. The estimator that is answered with
    it is the one that will decide: figures, thresholds and the guard's counts have to be its own.
    """
    estimator = loaded.policy.routing.estimator
    if estimator.kind != "encoder":
        return None

    def teach(snapshot: Snapshot, records: Sequence[PairedOutcome]) -> tuple[Snapshot, Estimator]:
        base = Path(loaded.place_of(_PATH)[0]).parent
        learn = cast("Learn", _loaded(SECTIONS, estimator.kind))
        made = learn(Asked(settings=estimator.settings, base_dir=base), records)
        taught = replace(snapshot, encoder=made)
        return taught, estimator_of(loaded)(taught)

    return teach


def _either(made: Estimator | None, default: Estimator | None) -> Estimator | None:
    if made is None or default is None:
        return made or default
    return _Or(made, default)


def _judge(
    settings: Mapping[str, object],
    sections: Mapping[str, Mapping[str, object]],
    default: Estimator | None,
    ratings: Ratings,
) -> Judge:
    section = sections.get("judge")
    weights = DEFAULT_WEIGHTS if section is None else read_weights(section)[1]
    return Judge(ratings, weights, default, "inline" if settings.get("mode", "shadow") == "inline" else "shadow")


def _entry(name: str, asked: Asked) -> Estimator | None:
    """What the entry point `name` makes. Raises ConfigurationError where there is none, it cannot be loaded, or it makes something else."""
    make = cast("Callable[[Asked], Estimator | None]", _loaded(GROUP, name))
    made = make(asked)
    if made is not None and not callable(getattr(made, "estimate", None)):
        raise ConfigurationError(f"routing.estimator `{name}`: {make!r} made no estimator ({type(made).__name__}).")
    return made


def _loaded(group: str, name: str) -> object:
    """The object behind an entry point. Raises ConfigurationError where there is none, or it cannot be loaded."""
    found = {entry.name: entry for entry in entry_points(group=group)}
    if name not in found:
        others = sorted(set(found) - {"encoder"})
        raise ConfigurationError(
            f"routing.estimator: no installed package offers an estimator `{name}` (entry point group `{group}`"
            f"{'; there are ' + ', '.join(others) if others else ''}). Install the one that does, or choose `estimator: hashed`."
        )
    try:
        return found[name].load()
    except (ImportError, AttributeError) as error:
        remedy = "Choose `estimator: hashed` to do without."
        raise ConfigurationError(f"routing.estimator `{name}`: {error}. {remedy}") from error
