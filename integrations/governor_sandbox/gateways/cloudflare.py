"""Cloudflare AI Gateway: `/compat` for all providers in OpenAI's format, and each provider's own API behind its name.

Bodies and headers as its documentation and users' reports have them: `{"success": false, "error": [{"code": 2009, ...}]}`
(cloudflare/cloudflare-docs#31050, can1357/oh-my-pi#11327), `cf-aig-cache-status`, `cf-aig-step`, `cf-aig-log-id`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from governor_sandbox.dialect import Draft, Target
from governor_sandbox.gateways.front import Crossing, Front, split
from governor_sandbox.prompt import Provider


def _error(status: int, code: int, message: str) -> tuple[int, Any]:
    body = {
        "success": False,
        "result": [],
        "messages": [],
        "error": [{"code": code, "message": message}],
        "name": "AiGatewayError",
        "httpCode": status,
        "internalCode": code,
    }
    return status, body


@dataclass(slots=True, kw_only=True)
class Cloudflare(Front):
    """An authenticated gateway with stored keys."""

    name: ClassVar[str] = "cloudflare"
    forms: ClassVar[Mapping[str, tuple[int, Any]]] = {
        "rate_limited": _error(429, 2003, "Rate limited"),
        "unauthorized": _error(401, 2009, "Unauthorized"),
        "wholesale": _error(429, 2018, "Wholesale Rate limited"),
        "no_credit": _error(402, 2021, "Insufficient credits"),
        "prompt_blocked": _error(424, 2016, "Prompt blocked due to security configurations"),
        "answer_blocked": _error(424, 2017, "Response blocked due to security configurations"),
        "no_model": _error(400, 2005, "Failed to get response from provider"),
    }

    token: str = "cf-token"  # noqa: S105 - of the sandbox

    def authenticate(self, headers: Mapping[str, str]) -> None:
        """`cf-aig-authorization`, beside the provider's own header."""
        if headers.get("cf-aig-authorization") != f"Bearer {self.token}":
            raise self.turned("unauthorized")

    def resells(self, target: Target) -> bool:
        """Only `/compat` does; the others are a provider's own API."""
        return target.compat

    def resolve(self, name: str, headers: Mapping[str, str]) -> tuple[Provider, str]:
        """`provider/model`; a `dynamic/<route>` is one of the aliases."""
        found = split(name)
        if found is None:
            raise self.turned("no_model")
        return found

    def marks(self) -> dict[str, str]:
        """Which step failed last."""
        return {"cf-aig-step": str(int(self.fallback is not None))}

    def headers(self, crossing: Crossing, draft: Draft, *, hit: bool) -> dict[str, str]:
        """Streams are told as whole answers are."""
        return {
            "cf-aig-cache-status": "HIT" if hit else "MISS",
            "cf-aig-step": "1" if crossing.fell_back else "0",
            "cf-aig-log-id": f"01SANDBOX{draft.seq:017d}",
            "cf-aig-event-id": f"00000000-0000-4000-8000-{draft.seq:012d}",
            "cf-aig-provider": crossing.provider,
            "cf-aig-model": crossing.model,
        }
