"""Portkey: a key of its own, and one of provider, config, virtual key or `@slug/model` to say whose model it is.

Headers as in portkey.ai/docs/api-reference/headers and .../response-schema; statuses as in .../error-codes. A key that it refuses is
answered with 401 "Invalid API Key. Error Code: 03" (users' reports).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

from governor_sandbox.dialect import Draft
from governor_sandbox.gateways.front import PROVIDERS, Crossing, Front, split
from governor_sandbox.prompt import Provider


def _error(status: int, message: str) -> tuple[int, Any]:
    return status, {"status": "failure", "message": message}


@dataclass(slots=True, kw_only=True)
class Portkey(Front):
    """The hosted gateway."""

    name: ClassVar[str] = "portkey"
    forms: ClassVar[Mapping[str, tuple[int, Any]]] = {
        "unauthorized": _error(401, "Invalid API Key. Error Code: 03"),
        "no_provider": _error(400, "Either x-portkey-config or x-portkey-provider header is required"),
        "budget": _error(412, "Budget exhausted"),
        "rate_limited": _error(429, "Request rate limited"),
        "guardrail": _error(446, "The guardrail checks defined in the config failed."),
    }

    token: str = "pk-token"  # noqa: S105 - of the sandbox
    slugs: dict[str, str] = field(default_factory=lambda: {"openai-prod": "openai", "claude-prod": "anthropic"})
    """Providers that were set up, by the name they were given."""
    retries: int = 0

    def authenticate(self, headers: Mapping[str, str]) -> None:
        """`x-portkey-api-key`."""
        if headers.get("x-portkey-api-key") != self.token:
            raise self.turned("unauthorized")

    def resolve(self, name: str, headers: Mapping[str, str]) -> tuple[Provider, str]:
        """The provider comes from the name, or from one of three headers."""
        if name.startswith("@"):
            slug, _, model = name[1:].partition("/")
            vendor = self.slugs.get(slug, "")
        elif (found := split(name)) is not None and name == self.fallback:
            return found
        else:
            vendor, model = headers.get("x-portkey-provider", "").removeprefix("@"), name
            vendor = self.slugs.get(vendor, vendor) or ("openai" if _has_config(headers) else "")
        provider = PROVIDERS.get(vendor)
        if provider is None:
            raise self.turned("no_provider")
        return provider, model

    def keeps(self, headers: Mapping[str, str]) -> bool:
        """Its cache is asked for by the config."""
        return self.caching or "cache" in _config(headers)

    def marks(self) -> dict[str, str]:
        """How often it tried before."""
        return {"x-portkey-retry-attempt-count": str(self.retries)}

    def headers(self, crossing: Crossing, draft: Draft, *, hit: bool) -> dict[str, str]:
        """Without a cache in the config its status is DISABLED."""
        status = "HIT" if hit else "MISS" if crossing.caches else "DISABLED"
        return {
            "x-portkey-cache-status": status,
            "x-portkey-last-used-option-index": f"config.targets[{int(crossing.fell_back)}]",
            "x-portkey-provider": crossing.provider,
            "x-portkey-retry-attempt-count": str(self.retries),
            "x-portkey-trace-id": f"00000000-0000-4000-8000-{draft.seq:012d}",
        }

    def reset(self) -> None:
        """As new."""
        self.retries = 0
        Front.reset(self)


def _has_config(headers: Mapping[str, str]) -> bool:
    return "x-portkey-config" in headers or "x-portkey-virtual-key" in headers


def _config(headers: Mapping[str, str]) -> Mapping[str, Any]:
    """A config in the header itself; the name of a stored one says nothing."""
    try:
        config: Any = json.loads(headers.get("x-portkey-config", "{}"))
    except ValueError:
        return {}
    return cast("Mapping[str, Any]", config) if isinstance(config, dict) else {}
