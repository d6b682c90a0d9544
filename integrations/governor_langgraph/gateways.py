"""What gateways say of an answer in its headers: whether their own cache gave it, which model did, how often they tried.

A client hides the headers of its answers, so they are read where the answer arrives (`transport`), by name; nothing else of them is
kept, and no header of a request is ever looked at. What they say has an effect on money only where the policy puts the tier behind a
`gateway`, or the request went to a host that is a gateway's own: any other server could call its answers free.

- Cloudflare AI Gateway: `cf-aig-cache-status` HIT or MISS (developers.cloudflare.com/ai-gateway/features/caching), `cf-aig-step` from 0
  (.../configuration/fallbacks), `cf-aig-model`, `cf-aig-provider`, `cf-aig-log-id` (.../glossary).
- LiteLLM proxy: `x-litellm-response-cost` in dollars (absent from streams: BerriAI/litellm#12689), `-model-id`, `-model-group` (a
  fallback's, after one), `-attempted-retries`, `-attempted-fallbacks`, `-call-id` (docs.litellm.ai/docs/proxy/response_headers);
  `-cache-hit` true on a hit is seen in users' code, not in its documentation.
- Portkey: `x-portkey-cache-status` HIT, SEMANTIC HIT, MISS, ..., `-trace-id`, `-retry-attempt-count` (-1 before the first),
  `-last-used-option-index` (portkey.ai/docs/api-reference/response-schema), `-provider`.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor_langgraph.vendors import Failure

__all__ = ["Heard", "Told", "hear", "heard_var", "told_in"]

OWN_HOSTS = ("gateway.ai.cloudflare.com", "api.portkey.ai")
"""Hosts that nobody but the gateway answers at."""

_LONGEST = 200
"""Characters of a header that are kept."""

_PREFIXES = ("cf-aig-", "x-litellm-", "x-portkey-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a gateway said of one answer."""

    name: str
    """`cloudflare`, `litellm` or `portkey`."""
    cached: bool = False
    """Its own cache answered: the provider was not asked, and bills nothing."""
    model: str | None = None
    """The model that answered."""
    fell_back: bool = False
    """Another model or provider answered than the one it tried first."""
    tried_before: bool = False
    """It sent the request to a provider more than once: what the earlier attempts cost, nobody says."""
    cost_nano_usd: int | None = None
    """What it says that the answer cost."""
    facts: Mapping[str, str | int] = field(default_factory=dict[str, "str | int"])
    """For the trace."""


class Heard:
    """The headers of the latest answer to one call, as far as gateways have set them."""

    __slots__ = ("_headers", "_own", "trusted")

    def __init__(self, *, trusted: bool = False) -> None:
        """`trusted`: the policy puts the tier behind a gateway."""
        self.trusted = trusted
        self._headers: Mapping[str, str] = {}
        self._own = False

    def take(self, host: str, headers: Mapping[str, str]) -> None:
        """Note an answer of `host`."""
        self._headers = _kept(headers)
        self._own = host.lower() in OWN_HOSTS

    def pass_on(self, other: Heard) -> None:
        """Tell another governor's call around this one what this one heard."""
        other._headers, other._own = self._headers, self._own

    def told(self, metadata: Mapping[str, Any] | None = None) -> Told | None:
        """What was said, with an effect on money only where that is to be believed. `metadata`: of an answer whose headers boto3 keeps."""
        found = told_in(self._headers or _of_boto(metadata))
        if found is None or self.trusted or self._own:
            return found
        return replace(found, cached=False, fell_back=False, model=None, cost_nano_usd=None)

    def judged(self, failure: Failure, error: BaseException) -> Failure:
        """A failure in the light of what was said: with earlier attempts inside of the gateway, that nothing was billed is not known."""
        found = told_in(self._headers or _of_boto(getattr(error, "response", None)))
        return replace(failure, rejected=False) if found is not None and found.tried_before else failure


heard_var: ContextVar[Heard | None] = ContextVar("governor_heard", default=None)
"""Where the answers of the attempt that runs here are noted."""


def hear(host: str, headers: Mapping[str, str]) -> None:
    """Note the headers of an answer, if an attempt is under way here."""
    heard = heard_var.get()
    if heard is not None:
        heard.take(host, headers)


def told_in(headers: Mapping[str, str]) -> Told | None:
    """What a gateway says in headers with lower-case names; None where no gateway has set any."""
    for name, read in _READERS.items():
        if any(header.startswith(_PREFIX_OF[name]) for header in headers):
            return read(headers)
    return None


def _cloudflare(headers: Mapping[str, str]) -> Told:
    step, status = _number(headers, "cf-aig-step"), headers.get("cf-aig-cache-status", "")
    provider, model = headers.get("cf-aig-provider", ""), headers.get("cf-aig-model", "")
    return Told(
        name="cloudflare",
        cached=status.upper() == "HIT",
        model=(f"{provider}/{model}" if provider else model) if step > 0 and model else None,
        fell_back=step > 0,
        tried_before=step > 0,
        facts=_facts(
            "cloudflare",
            cache=status,
            step=step or "",
            provider=provider,
            log_id=headers.get("cf-aig-log-id"),
        ),
    )


def _litellm(headers: Mapping[str, str]) -> Told:
    retries, fallbacks = (_number(headers, f"x-litellm-attempted-{kind}") for kind in ("retries", "fallbacks"))
    hit = headers.get("x-litellm-cache-hit", "")
    cost = _nano_usd(headers.get("x-litellm-response-cost"))
    return Told(
        name="litellm",
        cached=hit.lower() == "true",
        model=headers.get("x-litellm-model-group") if fallbacks else None,
        fell_back=fallbacks > 0,
        tried_before=retries + fallbacks > 0,
        cost_nano_usd=cost or None,  # 0 is what it says of a model whose price it does not know
        facts=_facts(
            "litellm",
            cache={"true": "HIT", "false": "MISS"}.get(hit.lower(), ""),
            retries=retries or "",
            step=fallbacks or "",
            model_id=headers.get("x-litellm-model-id"),
            model_group=headers.get("x-litellm-model-group"),
            log_id=headers.get("x-litellm-call-id"),
            cost_nano_usd=cost,
        ),
    )


def _portkey(headers: Mapping[str, str]) -> Told:
    retries = _number(headers, "x-portkey-retry-attempt-count")
    status, option = headers.get("x-portkey-cache-status", ""), headers.get("x-portkey-last-used-option-index", "")
    # `config.targets[1]`, `config.targets[1].targets[0]`, or a plain number: 0 at every level is the target tried first
    fell_back = any(int(each) > 0 for each in re.findall(r"\d+", option))
    return Told(
        name="portkey",
        cached=status.upper() in ("HIT", "SEMANTIC HIT"),
        fell_back=fell_back,
        tried_before=retries > 0 or fell_back,
        facts=_facts(
            "portkey",
            cache=status,
            retries=max(retries, 0) or "",
            option=option,
            provider=headers.get("x-portkey-provider"),
            log_id=headers.get("x-portkey-trace-id"),
        ),
    )


_READERS: Final = {"cloudflare": _cloudflare, "litellm": _litellm, "portkey": _portkey}
_PREFIX_OF: Final = dict(zip(_READERS, _PREFIXES, strict=True))


def _facts(name: str, **facts: str | int | None) -> dict[str, str | int]:
    return {"name": name} | {key: value for key, value in facts.items() if value not in (None, "")}


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {
        name.lower(): str(value)[:_LONGEST] for name, value in headers.items() if name.lower().startswith(_PREFIXES)
    }


def _of_boto(response: object) -> dict[str, str]:
    """The headers that boto3 keeps beside an answer or in an error."""
    if not isinstance(response, dict):
        return {}
    about: object = cast("Mapping[str, Any]", response).get("ResponseMetadata")
    headers: object = cast("Mapping[str, Any]", about).get("HTTPHeaders") if isinstance(about, dict) else None
    return _kept(cast("Mapping[str, str]", headers)) if isinstance(headers, dict) else {}


def _number(headers: Mapping[str, str], name: str) -> int:
    try:
        return int(headers.get(name, "0"))
    except ValueError:
        return 0


def _nano_usd(dollars: str | None) -> int | None:
    try:
        cost = Decimal(dollars or "")
    except InvalidOperation:
        return None
    return int((cost * 1_000_000_000).to_integral_value()) if cost.is_finite() and 0 <= cost < 1_000_000 else None
