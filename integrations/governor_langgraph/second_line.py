"""The second line: a callback handler that sees the model calls which no hook took.

Such a call has no reservation, no tier and no record. Under `mediation: strict` it is refused before the provider is reached; under
`mediation: lenient`, and in observe mode, it is reported and goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import BaseCallbackHandler

from governor.decisions import Decision, Reason, Verdict
from governor.errors import CallDenied
from governor_langgraph.context import current_step, model_taken, model_vouched

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor_langgraph.context import GovernedStep

__all__ = ["SECOND_LINE", "SecondLine", "refuse_ungoverned"]

CODE = "mediation.ungoverned"
SELF_GOVERNED = ["wrapper", "GovernedChatModel"]
"""How a model of `wrap_model` names itself to handlers: it answers for its own calls."""


class SecondLine(BaseCallbackHandler):
    """Refuses or reports model calls that governor did not take. Sync and inline: only so does an exception stop the call."""

    raise_error = True
    run_inline = True

    @property
    def ignore_chain(self) -> bool:
        """Only models matter here, and events that nobody reads cost time."""
        return True

    @property
    def ignore_agent(self) -> bool:
        """Tools are governed where they run."""
        return True

    @property
    def ignore_retriever(self) -> bool:
        """Nothing to see."""
        return True

    def on_chat_model_start(self, serialized: Mapping[str, Any], messages: Any, **kwargs: Any) -> None:
        """A chat model is about to be called."""
        _check(serialized)

    def on_llm_start(self, serialized: Mapping[str, Any], prompts: Any, **kwargs: Any) -> None:
        """A completion model is about to be called; governor has no path for those."""
        _check(serialized)


def _check(serialized: Mapping[str, Any] | None) -> None:
    """Raises CallDenied for a call that nobody answers for."""
    if model_taken.get() or model_vouched.get():
        return
    step = current_step()
    if step is None:
        return
    identity: list[str] = (serialized or {}).get("id") or ["a model"]
    if identity[-2:] != SELF_GOVERNED:
        refuse_ungoverned(step, identity[-1])


def refuse_ungoverned(step: GovernedStep, name: str) -> None:
    """Refuse a model call that no governed call makes, or report it where the policy lets such calls pass.

    Raises CallDenied under an enforcing policy with `mediation: strict`.
    """
    governor = step.run.governor
    policy = governor.policy.policy
    reason = Reason(
        code=CODE,
        rule="mediation",
        text=f"{name} was called in a governed run by a way that governor does not reach, so nothing would bound it.",
        limit=policy.mediation,
        seen=name,
        remedy=(
            "Call it through a LangChain chat model's invoke, stream, batch or generate, or wrap it with wrap_model(). "
            "`mediation: lenient` in the policy lets such calls pass and reports them."
        ),
    )
    passes = policy.mode == "observe" or policy.mediation == "lenient"
    decision = Decision(control="mediation", verdict=Verdict.DENY, reason=reason, observed=passes)
    governor.runtime.telemetry.decided(step.span, step.ref, decision)
    if not passes:
        raise CallDenied(reason, policy_hash=step.run.ref.policy_hash)


SECOND_LINE = SecondLine()
