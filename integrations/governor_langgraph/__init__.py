"""governor around LangGraph: every node, model call and tool call of a graph goes through one policy.

    app = govern(graph, policy="policies/support.yaml")

Nothing else changes: the governed graph is a copy of the same class with the same outputs, events, checkpoints and drawings.
"""

from __future__ import annotations

from governor_langgraph.supported import require_supported as _require_supported

_require_supported()  # before the imports below, which would fail in words that say nothing of versions

from governor_langgraph.decorator import governed
from governor_langgraph.governing import Governor
from governor_langgraph.graph import govern
from governor_langgraph.hooks import install, uninstall
from governor_langgraph.middleware import GovernorMiddleware
from governor_langgraph.opened import report_of
from governor_langgraph.stops import GovernorReport, GovernorStop, RunReport, watch
from governor_langgraph.wrapper import GovernedChatModel, wrap_model

__all__ = [
    "GovernedChatModel",
    "Governor",
    "GovernorMiddleware",
    "GovernorReport",
    "GovernorStop",
    "RunReport",
    "govern",
    "governed",
    "install",
    "report_of",
    "uninstall",
    "watch",
    "wrap_model",
]
