"""governor: budgets, routing, compaction, loop protection and access rules for agent graphs, from one policy file.

The core knows no framework and no vendor. `governor_langgraph` puts it around LangGraph; `governor_<vendor>` map one provider each.

Vocabulary. *call*: one model or tool call about to happen. *usage*: its tokens and fees. *step*: one node execution. *run*: one
invocation of the root graph with everything nested in it. *thread*: a conversation; runs share it. *control*: a pure rule.
*decision*: its answer, with a *reason*. *tier*: a model by its role (frontier, student, commodity). *budget*: limit x scope x window.
*lease*: a reservation. *ledger*: what was spent, per scope. *store*: where ledgers and run state live. *policy*: the file that
rules it all.
"""

from __future__ import annotations

from governor.decisions import Decision, Reason, Verdict
from governor.errors import (
    CallDenied,
    ConfigurationError,
    GovernorError,
    PolicyError,
    PolicyErrors,
    Refused,
    RunStopped,
    StoreError,
)
from governor.saying import afeedback, evaluated, feedback
from governor.usage import Usage

__all__ = [
    "CallDenied",
    "ConfigurationError",
    "Decision",
    "GovernorError",
    "PolicyError",
    "PolicyErrors",
    "Reason",
    "Refused",
    "RunStopped",
    "StoreError",
    "Usage",
    "Verdict",
    "afeedback",
    "evaluated",
    "feedback",
]
