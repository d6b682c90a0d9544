"""Ledgers that are wrong in one way each: the sources of the memory store's with one place changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import governor.stores
from governor.stores.contract import Store
from governor.stores.memory import MemoryStore

__all__ = ["MUTANTS", "Mutant"]

FOLDER = Path(governor.stores.__file__).parent


@dataclass(frozen=True)
class Mutant:
    """One change of one place, and what it makes wrong."""

    wrong: str
    module: str
    there: str
    instead: str
    only: tuple[str, ...] = ()
    """Rules of the machine that are enough to meet it: among all of them it takes thousands of tries to be met."""

    def store(self) -> Store:
        """A memory store whose ledgers are made from the changed sources."""
        names: dict[str, Any] = {}
        for module in ("rates", "ledgers", "counters"):
            text = (FOLDER / f"{module}.py").read_text()
            if module == self.module and self.there:
                assert text.count(self.there) == 1, f"{self.wrong}: its place has changed"
                text = text.replace(self.there, self.instead)
            own: dict[str, Any] = {"__name__": f"governor.stores.{module}"}
            exec(compile(text, module, "exec"), own)
            own |= names  # what a module takes from the one before it takes from its changed form
            names |= {name: own[name] for name in own["__all__"]}
        store = MemoryStore()
        store._counters = names["Counters"]()
        return store


MUTANTS = (
    Mutant(
        "no limit is looked at",
        "counters",
        "        if short:\n            return short\n        taken",
        "        taken",
    ),
    Mutant(
        "only the last hold is looked at",
        "counters",
        "        short = first_shortfall(holds, counts, now)\n        while",
        "        short = first_shortfall(holds[-1:], counts[-1:], now)\n        while",
    ),
    Mutant(
        "a known id holds again",
        "counters",
        "        if known is not None:",
        "        if known is not None and not now:",
    ),
    Mutant(
        "a settled lease is settled again",
        "counters",
        "entry.state in (LeaseState.SETTLED, LeaseState.RELEASED):\n            return\n        pairs",
        "entry.state is LeaseState.RELEASED:\n            return\n        pairs",
    ),
    Mutant(
        "a released lease is settled",
        "counters",
        "entry.state in (LeaseState.SETTLED, LeaseState.RELEASED):\n            return\n        pairs",
        "entry.state is LeaseState.SETTLED:\n            return\n        pairs",
        only=("reserve", "release", "settle"),
    ),
    Mutant("a lost call is given back", "counters", "                    ledger.spent += hold.amount\n", ""),
    Mutant(
        "a lost call is charged and stays reserved",
        "counters",
        "                    ledger.reserved -= hold.amount\n",
        "",
    ),
    Mutant(
        "the limit is one higher",
        "ledgers",
        "hold.amount > hold.limit + now.granted - hold.kept",
        "hold.amount > hold.limit + now.granted - hold.kept + 1",
    ),
    Mutant(
        "a ledger is never quite filled",
        "ledgers",
        "hold.amount > hold.limit + now.granted - hold.kept",
        "hold.amount >= hold.limit + now.granted - hold.kept",
    ),
    Mutant(
        "a released lease is charged",
        "counters",
        "self._move(hold, entry.state, 0, number, now_ms)",
        "self._move(hold, entry.state, hold.amount, number, now_ms)",
    ),
    Mutant(
        "a forfeit lease is corrected twice",
        "counters",
        "        entry.state = LeaseState.SETTLED\n",
        "        if entry.state is not LeaseState.FORFEIT:\n            entry.state = LeaseState.SETTLED\n",
        only=("reserve", "dispatch", "settle", "time_passes", "everything_ends"),
    ),
    Mutant(
        "a forfeit lease is charged beside its hold",
        "ledgers",
        "(charged - held, 0) if",
        "(charged, 0) if",
    ),
    Mutant(
        "a forfeit lease is given back",
        "counters",
        "        if entry is not None and entry.state in _OPEN:\n",
        "        if entry is not None and entry.state in (*_OPEN, LeaseState.FORFEIT):\n",
    ),
    Mutant(
        "earlier slices do not count",
        "counters",
        "        if not hold.earlier:\n            if ledger is None",
        "        if True:\n            if ledger is None",
    ),
    Mutant(
        "what is reserved in earlier slices does not count",
        "counters",
        "            sum(each.reserved for each in all_slices),",
        "            ledger.reserved if ledger else 0,",
        only=("reserve", "time_passes", "settle"),
    ),
    Mutant(
        "a rate takes back what has drained",
        "rates",
        "min(unused, lowest, level)",
        "min(unused, level)",
        only=("reserve", "settle", "time_passes"),
    ),
    Mutant("a rate gives nothing back", "rates", "min(unused, lowest, level)", "0"),
    Mutant(
        "a rate forgives what was used beyond the hold",
        "rates",
        "    if unused <= 0:\n",
        "    if unused <= 0:\n        return bucket\n",
        only=("reserve", "settle"),
    ),
    Mutant("a rate never drains", "rates", "max(0, now_ms - bucket.at_ms) * limit)", "0)"),
    Mutant("a hold forgets its number in the bucket", "counters", "return ledger.bucket.taken", "return 0"),
    Mutant(
        "a forfeit call's late settlement refunds its rate",
        "counters",
        "            if state is not LeaseState.FORFEIT:\n",
        "            if state:\n",
        only=("reserve", "dispatch", "settle", "time_passes", "everything_ends"),
    ),
    Mutant("halts are ignored", "counters", "if self.halts and (halted", "if not now and (halted"),
    Mutant(
        "halts are seen after limits",
        "counters",
        "        if self.halts and (halted",
        "        if not first_shortfall(request.holds, [*map(self._counted, request.holds)], now) and (halted",
    ),
    Mutant(
        "halts are seen before known ids",
        "counters",
        "        self.sweep(now)\n        known",
        "        self.sweep(now)\n        if stopped := halt_among(request.scopes, self.halts):\n            return stopped\n"
        "        self.sweep(now)\n        known",
    ),
    Mutant("the last halted scope is named", "ledgers", "for scope in scopes if", "for scope in scopes[::-1] if"),
    Mutant("a halt is not taken back", "counters", "self.halts.pop(change.subject, None)", "pass"),
    Mutant(
        "a grant counts twice",
        "counters",
        "+= change.amount",
        "+= 2 * change.amount",
        only=("reserve", "adjust"),
    ),
    Mutant(
        "a repeated change is made again",
        "counters",
        "        if change.id in self.adjustments:",
        "        if not change.id:",
    ),
    Mutant(
        "nothing is taken back by a grant",
        "counters",
        "+= change.amount",
        "+= max(0, change.amount)",
        only=("reserve", "adjust"),
    ),
    Mutant(
        "grants do not count",
        "ledgers",
        "hold.amount > hold.limit + now.granted - hold.kept",
        "hold.amount > hold.limit - hold.kept",
    ),
    Mutant(
        "a reset forgives what is reserved",
        "counters",
        "ledger.spent, ledger.bucket, ledger.opened_ms = 0, EMPTY, change.at_ms",
        "ledger.spent, ledger.reserved, ledger.bucket = 0, 0, EMPTY",
        only=("reserve", "adjust", "settle"),
    ),
    Mutant(
        "a reset leaves a rate full",
        "counters",
        "ledger.spent, ledger.bucket, ledger.opened_ms = 0, EMPTY, change.at_ms",
        "ledger.spent = 0",
        only=("reserve", "adjust"),
    ),
    Mutant(
        "a call in doubt that settles after a reset is paid back what was forgiven",
        "counters",
        "entry.holds = forgiven(entry.holds, change.subject)",
        "pass",
        only=("reserve", "adjust", "settle", "time_passes"),
    ),
    Mutant(
        "what waited too long is charged",
        "counters",
        "        elif entry.state is LeaseState.DISPATCHED:",
        "        elif entry.state in _OPEN:",
    ),
    Mutant(
        "what waited too long stays reserved",
        "counters",
        "            if entry.state is LeaseState.RESERVED:\n                self._free(entry, now_ms)\n",
        "",
    ),
    Mutant(
        "nothing ever expires",
        "counters",
        "            self._expire(heappop(self._due)[1], now_ms)\n",
        "            heappop(self._due)\n",
    ),
    Mutant(
        "the sweep stops at its first lease for ever",
        "counters",
        "            self._expire(heappop(self._due)[1], now_ms)\n",
        "            self._expire(self._due[0][1], now_ms)\n            break\n",
    ),
    Mutant(
        "a lease kept alive is never looked at again",
        "counters",
        "            heappush(self._due, (entry.due_ms, lease))\n        elif",
        "            pass\n        elif",
        only=("reserve", "extend", "time_passes", "everything_ends"),
    ),
    Mutant(
        "heartbeats are not heeded",
        "counters",
        "        if entry.state is not LeaseState.FORFEIT and entry.due_ms > now_ms:",
        "        if entry.state is LeaseState.SETTLED and entry.due_ms > now_ms:",
        only=("reserve", "extend", "time_passes", "everything_ends"),
    ),
    Mutant(
        "a refused call holds in part",
        "counters",
        "            return short\n        taken",
        "            self._take(holds[0], now)\n            return short\n        taken",
    ),
    Mutant(
        "a charge is capped at its hold",
        "counters",
        "movement(state, hold.amount, amount)",
        "movement(state, hold.amount, min(hold.amount, amount))",
    ),
    Mutant(
        "a settlement frees what it charged instead of what was held",
        "ledgers",
        "else (charged, -held)",
        "else (charged, -charged)",
    ),
    Mutant(
        "a heartbeat wakes what is over",
        "counters",
        "entry.state not in _OPEN or entry.due_ms <= now_ms:\n            return False\n        entry.due_ms",
        "now_ms < 0:\n            return False\n        entry.state = LeaseState.DISPATCHED\n        entry.due_ms",
        only=("reserve", "extend", "time_passes", "everything_ends"),
    ),
    Mutant(
        "a heartbeat shortens a lease",
        "counters",
        "max(entry.due_ms, now_ms + ttl_ms)",
        "now_ms + ttl_ms",
        only=("reserve", "extend", "time_passes", "everything_ends"),
    ),
    Mutant(
        "what is over is dispatched",
        "counters",
        "entry.state not in _OPEN or entry.due_ms <= now_ms:\n            return False\n        entry.state",
        "now_ms < 0:\n            return False\n        entry.state",
        only=("reserve", "dispatch", "time_passes", "everything_ends"),
    ),
    Mutant(
        "a dispatched call is still taken for one that waits",
        "counters",
        "        entry.state = LeaseState.DISPATCHED\n        return True",
        "        return True",
        only=("reserve", "dispatch", "time_passes", "everything_ends"),
    ),
    Mutant(
        "a call that waits is taken for one that began",
        "counters",
        "LeaseState.DISPATCHED if request.dispatched else LeaseState.RESERVED",
        "LeaseState.DISPATCHED",
    ),
    Mutant(
        "a settlement goes to another ledger",
        "counters",
        "        ledger = self.ledgers.get(hold.ledger)\n        if ledger is None:  # its",
        "        ledger = self.ledgers.get(min(self.ledgers))\n        if ledger is None:  # its",
    ),
    Mutant("another call gets a known lease", "counters", "            same_call(request, known.payload)\n", ""),
    Mutant(
        "two holds on one ledger are looked at apart",
        "ledgers",
        "        taken[hold.ledger] = before + hold.amount\n",
        "",
    ),
    Mutant(
        "what is reserved is counted twice",
        "ledgers",
        "now.spent + now.reserved + before + hold.amount >",
        "now.spent + 2 * now.reserved + before + hold.amount >",
    ),
    Mutant(
        "a lease says it is tighter than it is",
        "ledgers",
        "        weight = now.spent + now.reserved\n",
        "        weight = now.spent + now.reserved + hold.amount\n",
    ),
    Mutant(
        "what is taken from an escrow is counted twice",
        "counters",
        "            self._reserve(holds, [-amount for amount in taken])\n",
        "",
        only=("reserve", "settle", "release"),
    ),
    Mutant(
        "what a lease did not use of an escrow is lost to it",
        "counters",
        "            escrow.holds = more(escrow.holds, entry.holds, given)\n            self._reserve(entry.holds, given)\n",
        "            pass\n",
        only=("reserve", "settle", "release", "time_passes"),
    ),
    Mutant(
        "an escrow keeps what was taken from it",
        "counters",
        "escrow.holds, escrow.due_ms = less(escrow.holds, holds, taken), max",
        "escrow.due_ms = max",
        only=("reserve", "settle", "release"),
    ),
)
