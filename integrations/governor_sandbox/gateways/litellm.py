"""LiteLLM's proxy: model groups, virtual keys with budgets, and what it says in `x-litellm-` headers.

Errors as in BerriAI/litellm#40002, #14144 and #37000; headers as in docs.litellm.ai/docs/proxy/response_headers. An answer names the group
that was asked for, whatever answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from governor_sandbox.dialect import Draft
from governor_sandbox.gateways.front import KEY, Crossing, Front, split
from governor_sandbox.prompt import Provider


def _error(status: int, kind: str, message: str) -> tuple[int, Any]:
    return status, {"error": {"message": message, "type": kind, "param": None, "code": str(status)}}


_EXCEEDED = "Budget has been exceeded! Key=e7fbc61f Current cost: 2.6, Max budget: 2.5"


@dataclass(slots=True, kw_only=True)
class LiteLLM(Front):
    """A proxy whose model groups are the `aliases`; a name that begins with a provider is its own group."""

    name: ClassVar[str] = "litellm"
    forms: ClassVar[Mapping[str, tuple[int, Any]]] = {
        "unauthorized": _error(401, "auth_error", "Authentication Error, Invalid proxy server token passed."),
        "budget": _error(429, "budget_exceeded", _EXCEEDED),
        "budget_400": _error(400, "budget_exceeded", _EXCEEDED),
        "end_user_budget": _error(429, "None", "ExceededBudget: End User=u1 over budget. Spend=0.2, Budget=0.1"),
        "parallel": _error(429, "throttling_error", "Max parallel request limit reached. Limit=1, current=1"),
        "no_deployments": _error(429, "None", "No deployments available for selected model, Try again in 60 seconds."),
        "no_model": _error(400, "invalid_request_error", "Invalid model name passed in model"),
    }

    token: str = "sk-litellm"  # noqa: S105 - of the sandbox
    retries: int = 0
    """Attempts that it says it made before the one that answered."""

    def authenticate(self, headers: Mapping[str, str]) -> None:
        """A virtual key, in either of the two headers."""
        given = headers.get("x-litellm-api-key") or headers.get("authorization", "")
        if given.removeprefix("Bearer ") != self.token:
            raise self.turned("unauthorized")

    def forwarded(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """The proxy always has keys of its own: the client's is the proxy's."""
        return {**headers, "authorization": f"Bearer {KEY}", "x-api-key": KEY}

    def resolve(self, name: str, headers: Mapping[str, str]) -> tuple[Provider, str]:
        """`provider/model`, or a model of OpenAI's by its bare name."""
        found = split(name)
        if found is None and "/" in name:
            raise self.turned("no_model")
        return found or ("openai", name)

    def calls(self, asked: str, model: str) -> str:
        """The group, as it was asked for."""
        return asked

    def marks(self) -> dict[str, str]:
        """How often it tried before."""
        return {"x-litellm-attempted-retries": str(self.retries)}

    def headers(self, crossing: Crossing, draft: Draft, *, hit: bool) -> dict[str, str]:
        """The cost is told of whole answers only."""
        told = {
            "x-litellm-call-id": f"00000000-0000-4000-8000-{draft.seq:012d}",
            "x-litellm-model-id": f"sandbox-{crossing.model}",
            "x-litellm-model-group": f"{crossing.provider}/{crossing.model}" if crossing.fell_back else crossing.asked,
            "x-litellm-attempted-retries": str(self.retries),
            "x-litellm-attempted-fallbacks": str(int(crossing.fell_back)),
            "x-litellm-version": "1.109.1",
        }
        if hit:
            told["x-litellm-cache-hit"] = "True"
        if not draft.request.stream:
            nano = 0 if hit else draft.usage.cost(draft.request.spec.price)
            told["x-litellm-response-cost"] = f"{nano / 1e9:.12f}"
        return told

    def reset(self) -> None:
        """As new."""
        self.retries = 0
        Front.reset(self)
