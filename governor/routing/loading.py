"""Loads the snapshot that a policy names: once, when a graph is governed, and verified. What does not fit is an error of the policy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from governor.errors import RoutingError
from governor.routing.guard import Promise, exact_gate
from governor.routing.knowledge import Bound, Knowledge
from governor.routing.learned import SnapshotEstimator, band_of
from governor.routing.posthoc import Posthoc
from governor.routing.promoting import Promotions
from governor.routing.snapshot import ANY_NODE, load_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.policy.load import LoadedPolicy
    from governor.policy.schema import Policy
    from governor.routing.estimate import Estimator
    from governor.routing.snapshot import Snapshot

__all__ = ["knowledge_from", "knowledge_of", "snapshot_path"]

_PATH = ("routing", "snapshot")


def snapshot_path(loaded: LoadedPolicy, folder: Path | None = None) -> Path | None:
    """Where the policy's snapshot is; None where none is named.

    A relative path begins at the folder of the file that names it, or at `folder` for a policy that is in no file.
    """
    named = loaded.policy.routing.snapshot
    if named is None:
        return None
    path, written_in = Path(named).expanduser(), Path(loaded.place_of(_PATH)[0])
    if path.is_absolute():
        return path
    return (written_in.parent if written_in.is_file() else folder or Path()) / path


def knowledge_of(
    loaded: LoadedPolicy,
    *,
    folder: Path | None = None,
    estimator: Callable[[Snapshot], Estimator] | None = None,
) -> Knowledge | None:
    """What the policy's snapshot tells the decision; None where the policy names none, none is promoted, or there is no estimator.

    `folder`: where relative paths begin for a policy that is in no file. `estimator` makes one of another kind than the snapshot's own.
    Raises PolicyError where the file is missing, was edited, is of another version, or is about tiers that the policy does not have or has
    in another order.
    """
    path = snapshot_path(loaded, folder)
    if path is None or loaded.policy.routing.estimator.kind == "off":
        return None
    if not path.exists() and Promotions(path).folder.is_dir():
        return None  # nothing is promoted yet, or not any more
    try:
        snapshot = load_snapshot(path, tiers=tuple(loaded.policy.tiers))
        known = knowledge_from(snapshot, loaded.policy, estimator=estimator)
    except RoutingError as error:
        remedy = error.remedy or "Promote another one: governor route promote."
        raise loaded.error_at(_PATH, f"the snapshot cannot be used: {error}", remedy) from error
    order = list(loaded.policy.tiers)
    if order.index(snapshot.strong) > order.index(snapshot.weak):
        message = f"the snapshot holds {snapshot.strong} for better than {snapshot.weak}, and `tiers` has them the other way round"
        raise loaded.error_at(_PATH, message, "Put the better tier first, or train anew.")
    return known


def knowledge_from(
    snapshot: Snapshot, policy: Policy, *, estimator: Callable[[Snapshot], Estimator] | None = None
) -> Knowledge:
    """What a snapshot tells the decision under a policy. Raises RoutingError where its section on answers cannot be read."""
    share = policy.routing.frontier_share
    cut = snapshot.cut(float(share)) if share is not None else None
    quantiles = ((1 - float(share), cut),) if share is not None and cut is not None else ()
    own = SnapshotEstimator(snapshot, band=band_of(snapshot, policy.routing))
    return Knowledge(
        id=snapshot.id,
        weak=snapshot.weak,
        strong=snapshot.strong,
        estimator=own if estimator is None else estimator(snapshot),
        bounds=_bounds(snapshot, policy),
        quantiles=quantiles,
        proven=snapshot.promised,
        answers=Posthoc.parse(snapshot.posthoc) if snapshot.posthoc else None,
    )


def _bounds(snapshot: Snapshot, policy: Policy) -> dict[str, Bound]:
    """The guard of each node, by the policy's promise and the counts of records that nothing was learned from."""
    quality = policy.routing.quality
    if quality is None:
        return {}
    promise = Promise(
        max_loss=float(quality.max_loss), confidence=float(quality.confidence), accuracy=snapshot.accuracy
    )
    if not 0 < promise.max_loss < 1 or not 0 < promise.confidence < 1 or not promise.accuracy:
        # Nothing can be proven of a loss of 0, with certainty, or against a tier that was never right: the better one answers.
        return {}
    found: dict[str, Bound] = {}
    for each in snapshot.guard:
        node, tier = each.key
        if node == ANY_NODE or tier != snapshot.weak:
            continue
        gate = exact_gate(each.counts, promise)
        found[node] = Bound(n=gate.n, regrets=gate.regrets, upper=gate.upper, target=gate.target, open=gate.open)
    return found
