"""What becomes of a call whose store does not answer: decided here once, for the sync and the async performer alike.

Before a call is made the policy's `on_store_loss` decides. `refuse`: the run stops, nothing is dispatched, what is saved can be resumed.
`open`: the call goes on unmetered, with an alarm in the trace; what this process knows of the run still holds.

After it, there is nothing to decide: a paid answer is never thrown away. Its charge waits here and is tried again when the store answers;
should this process end before that, the lease is forfeit at what was held.
"""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import TYPE_CHECKING, Any

from governor.calls import StepRef
from governor.decisions import Decision, Reason, Verdict
from governor.effects import Change, Release, Settle
from governor.errors import LeaseConflict, RunStopped, StoreError
from governor.ledger import Lease
from governor.unseen import Unseen

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from governor.calls import RunRef
    from governor.policy.schema import Policy
    from governor.telemetry import Telemetry

__all__ = ["UNMETERED", "Losses", "lost"]

WAITING = 1_024
"""Charges that wait for their store, and changes of one run that do. Of more, the oldest go: their leases are forfeit."""
UNMETERED = Lease(id="", holds=())
"""The lease of a call for which nothing is held."""


def lost(said: str, *, opens: bool) -> Decision:
    """What is decided of a call when its store does not answer, and said this."""
    if opens:
        text = f"The store does not answer, and the policy lets calls go on unmetered: {said}"
        code, remedy = "store.open", "Bring the store back: until then no budget, rate or halt holds."
    else:
        text = f"The store does not answer, so that no budget can be held and nothing is sent: {said}"
        code, remedy = "store.lost", "Bring the store back, then resume the thread: what is saved is not repeated."
    word = "open" if opens else "refuse"
    reason = Reason(code=code, rule="on_store_loss", text=text, limit=word, seen=said, remedy=remedy)
    return Decision(control="budget", verdict=Verdict.STOP, reason=reason, observed=opens)


class Losses:
    """What one runtime does without its store: what it still knows, and what it still owes."""

    def __init__(self, policy: Policy, telemetry: Telemetry) -> None:
        """Nothing is lost yet. A policy that only observes stops nobody, whatever it says of its store."""
        self.opens = policy.on_store_loss == "open" or policy.mode == "observe"
        self.unsettled: deque[Settle | Release] = deque()
        self._telemetry = telemetry
        self._lock = Lock()
        self.runs = Unseen(WAITING)

    def under(self, policy: Policy, telemetry: Telemetry) -> Losses:
        """What is known and owed, under another policy of the same store: whichever reaches the store first tells it."""
        other = Losses(policy, telemetry)
        other.unsettled, other._lock, other.runs = self.unsettled, self._lock, self.runs
        return other

    # --- before a call

    def refused(self, error: StoreError, run: RunRef, span: Span, path: str = "") -> Lease:
        """The lease of a call that cannot be reserved: an unmetered one, or RunStopped. What is no loss is raised as it is."""
        if isinstance(error, LeaseConflict):
            raise error
        self._telemetry.store_lost("reserve")
        self._decided(error, run, span, path)
        return UNMETERED

    def missed(self, effect: Change[Any], error: StoreError, span: Span) -> Any:
        """The answer to a change of a run's state that the store did not make.

        Under `open` this process decides from what it knows, and the store is told later. Else RunStopped; None where the change only
        says what has happened already.
        """
        self._telemetry.store_lost("change")
        if not self.opens:
            if effect.past:
                return None
            self._decided(error, effect.run, span, "")
        return self.runs.missed(effect.run.id, effect.apply)

    def unadjusted(self) -> None:
        """An operator's change could not be made: other processes do not hear of it."""
        self._telemetry.store_lost("adjust")

    def unkept(self, error: StoreError, run: RunRef, span: Span) -> None:
        """The text behind a handle could not be stored: the model would be shown a handle that leads nowhere."""
        self._telemetry.store_lost("keep")
        if not self.opens:
            self._decided(error, run, span, "")

    # --- after it

    def owe(self, effect: Settle | Release) -> None:
        """Keep what the store could not be told of a call that was made."""
        if isinstance(effect, Release) and not effect.lease:
            return
        self._telemetry.store_lost("settle")
        self._telemetry.unsettled(1)
        with self._lock:
            self.unsettled.append(effect)
            if len(self.unsettled) > WAITING:
                self.unsettled.popleft()
                self._telemetry.unsettled(-1)

    def due(self) -> Settle | Release | None:
        """What is owed longest, taken out of the queue; None when nothing is."""
        try:
            return self.unsettled.popleft()
        except IndexError:
            return None

    def still_due(self, effect: Settle | Release) -> None:
        """It could not be told yet: it goes to the end, so that no charge keeps the others waiting."""
        self.unsettled.append(effect)

    def told(self) -> None:
        """The store knows of one more."""
        self._telemetry.unsettled(-1)

    def unextended(self) -> bool:
        """A heartbeat that nobody heard: the call goes on, and its settlement trues up what became of the lease."""
        self._telemetry.store_lost("extend")
        return False

    def _decided(self, error: StoreError, run: RunRef, span: Span, path: str) -> None:
        decision = lost(str(error), opens=self.opens)
        self._telemetry.decided(span, StepRef(run=run, node="", path=path, ns=""), decision)
        if decision.refuses and decision.reason is not None:
            raise RunStopped(decision.reason, policy_hash=run.policy_hash) from error
