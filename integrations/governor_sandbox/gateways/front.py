"""What gateways have in common: they look at headers, find the model, keep answers, fall back, and refuse in words of their own."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from governor_sandbox.catalogue import Catalogue, Model
from governor_sandbox.dialect import Answered, Draft, Target
from governor_sandbox.prompt import Provider, compact_json

KEY = "sandbox"
"""The provider's key that the sandbox's clients have. Behind a gateway it is verified: a made-up one is no key."""


class Turned(Exception):
    """A gateway refused a request itself; the provider never saw it."""

    def __init__(self, name: str, answer: Answered) -> None:
        """``name``: of the refusal, for the record."""
        super().__init__(name)
        self.name = name
        self.answer = answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """One request on its way through."""

    asked: str
    """The model's name as the client wrote it."""
    provider: Provider
    """Who answers, by the sandbox's catalogue."""
    model: str
    """The model that answers, as its own provider calls it."""
    named: str
    """What the answer calls it."""
    key: str
    """Of the request, for the gateway's cache."""
    caches: bool = False
    fell_back: bool = False


@dataclass(frozen=True, slots=True)
class Resold:
    """The catalogue behind a gateway that speaks OpenAI's format for everybody's models: Claude has no cache markers there."""

    catalogue: Catalogue
    crossing: Crossing

    def find(self, model_id: str, provider: str) -> Model | None:
        """The model that the gateway chose, whatever it was called."""
        if model_id != self.crossing.asked:
            return self.catalogue.find(model_id, provider)
        model = self.catalogue.find(self.crossing.model, self.crossing.provider)
        if model is None or provider == self.crossing.provider:
            return model
        return replace(model, cache="none")


@dataclass(slots=True, kw_only=True)
class Front:
    """A gateway's settings, which tests change, and what it has seen. One lock for all that threads share."""

    name: ClassVar[str] = ""
    forms: ClassVar[Mapping[str, tuple[int, Any]]] = {}
    """Refusals by name: status and body."""

    token: str = ""
    """What its own authentication header must hold."""
    caching: bool = False
    """Whether it keeps answers and gives them again."""
    fallback: str | None = None
    """`provider/model` that answers because the asked one fails."""
    aliases: dict[str, str] = field(default_factory=dict[str, str])
    """Names of its own, each to a `provider/model`."""
    keys_stored: bool = True
    """Whether it holds the provider's keys, for requests that bring none."""
    kept: dict[str, Draft] = field(default_factory=dict[str, Draft])
    seen: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    """The headers of every request, in lower case."""
    _refusals: list[tuple[str, float | None]] = field(default_factory=list[tuple[str, float | None]])
    _lock: Any = field(default_factory=threading.Lock)

    def refuse(self, form: str, *, times: int = 1, retry_after_s: float | None = None) -> None:
        """Refuse the next requests.

        Raises:
            KeyError: There is no such form.
        """
        if form not in self.forms:
            raise KeyError(f"{self.name} has no refusal {form!r}; it has {', '.join(sorted(self.forms))}")
        with self._lock:
            self._refusals += [(form, retry_after_s)] * times

    def reset(self) -> None:
        """As new."""
        with self._lock:
            self.caching, self.fallback, self.keys_stored = False, None, True
            self.aliases.clear()
            self.kept.clear()
            self.seen.clear()
            self._refusals.clear()

    def admit(self, headers: Mapping[str, str]) -> None:
        """Authenticate, then refuse what was asked to be refused.

        Raises:
            Turned: In the gateway's words.
        """
        with self._lock:
            self.seen.append(dict(headers))
        self.authenticate(headers)
        with self._lock:
            due = self._refusals.pop(0) if self._refusals else None
        if due is not None:
            raise self.turned(due[0], due[1])

    def turned(self, form: str, retry_after_s: float | None = None) -> Turned:
        """One of its refusals."""
        status, body = self.forms[form]
        headers = {} if retry_after_s is None else {"Retry-After": f"{retry_after_s:g}"}
        return Turned(form, Answered(status=status, body=compact_json(body).encode(), headers=headers))

    def cross(self, target: Target, headers: Mapping[str, str], body: Mapping[str, Any]) -> Crossing:
        """Find the model that answers. With a native API of one provider it is the asked one.

        Raises:
            Turned: There is none.
        """
        asked = str(target.model or body.get("model") or "")
        key = compact_json([target.operation, target.stream, asked, body])
        caches = self.keeps(headers)
        if not self.resells(target):
            return Crossing(asked=asked, provider=target.provider, model=asked, named=asked, key=key, caches=caches)
        chosen = self.fallback or self.aliases.get(asked, asked)
        provider, model = self.resolve(chosen, headers)
        return Crossing(
            asked=asked,
            provider=provider,
            model=model,
            named=self.calls(asked, model),
            key=key,
            caches=caches,
            fell_back=self.fallback is not None,
        )

    def forwarded(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """The headers that the provider sees, with the gateway's own key where the client brought none.

        A key that the client did bring is passed on, and a made-up one is as good as none.
        """
        given = headers.get("authorization", "").removeprefix("Bearer ") or headers.get("x-api-key", "")
        if not given and self.keys_stored:
            return {**headers, "authorization": f"Bearer {KEY}", "x-api-key": KEY}
        if given == KEY or given.startswith("AWS4-HMAC-SHA256"):
            return headers
        return {name: value for name, value in headers.items() if name not in ("authorization", "x-api-key")}

    def authenticate(self, headers: Mapping[str, str]) -> None:
        """Refuse a request without the gateway's own key."""
        raise NotImplementedError

    def resells(self, target: Target) -> bool:
        """Whether this endpoint speaks OpenAI's format for models of any provider."""
        return target.provider == "openai"

    def resolve(self, name: str, headers: Mapping[str, str]) -> tuple[Provider, str]:
        """Provider and model behind a name.

        Raises:
            Turned: There is none.
        """
        raise NotImplementedError

    def calls(self, asked: str, model: str) -> str:
        """What an answer calls its model."""
        del asked
        return model

    def keeps(self, headers: Mapping[str, str]) -> bool:
        """Whether its cache looks at this request."""
        del headers
        return self.caching

    def marks(self) -> dict[str, str]:
        """What it says of a provider's error that it hands on."""
        return {}

    def headers(self, crossing: Crossing, draft: Draft, *, hit: bool) -> dict[str, str]:
        """What it says of an answer."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A request and the gateway that it came by."""

    front: Front
    crossing: Crossing

    @property
    def kept(self) -> Draft | None:
        """The gateway's own answer, where it has one."""
        return self.front.kept.get(self.crossing.key) if self.crossing.caches else None

    def answered(self, draft: Draft, *, hit: bool) -> dict[str, str]:
        """Keep a new answer, if any is kept, and say what the gateway says of it."""
        if self.crossing.caches and not hit:
            self.front.kept[self.crossing.key] = draft
        return self.front.headers(self.crossing, draft, hit=hit)


PROVIDERS: Mapping[str, Provider] = {
    "openai": "openai",
    "anthropic": "anthropic",
    "bedrock": "bedrock",
    "aws-bedrock": "bedrock",
    "workers-ai": "openai",
}
"""Words for the sandbox's providers; Cloudflare's own models are listed under OpenAI's API, which is how they are served."""


def split(name: str) -> tuple[Provider, str] | None:
    """`provider/model` in two; None when it begins with no provider."""
    vendor, _, model = name.partition("/")
    provider = PROVIDERS.get(vendor)
    return (provider, model) if provider and model else None
