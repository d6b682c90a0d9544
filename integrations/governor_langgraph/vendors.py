"""Which vendor a chat model belongs to, and what governor asks of a vendor.

A vendor package (`governor_bedrock`, `governor_anthropic`, `governor_openai`) is a module that has the functions of `Vendor`; it is
imported when the first model of its kind is seen, so an extra that is not installed costs nothing. Every other chat model, fakes in
tests included, is served by `governor_langgraph.generic`, which knows LangChain's own conventions and nothing else.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from governor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage

    from governor.calls import CachePlan, ModelRef
    from governor.fees import HostedTool
    from governor.policy.schema import Tier

__all__ = ["Failure", "Finish", "Vendor", "vendor_named", "vendor_of"]

Finish = Literal["stop", "length", "tool_use", "refusal", "other"]
"""Why a model ended its answer, in the one vocabulary of `governor.calls.ModelResponse`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What is known of a failed provider call."""

    rejected: bool
    """Refused before any token: nothing was billed, the reservation is given back. False means unknown, so charge what was held."""
    transient: bool
    """The same request may succeed later (throttling, overload, a broken connection)."""
    code: str
    """The vendor's code, `ThrottlingException` or `rate_limit_error`; else the HTTP status, else the exception's class."""
    resent: bool = False
    """The vendor's client sends such a request again by itself."""
    unanswered: bool = False
    """No part of an answer can have arrived. False where that is not known: a lost connection looks alike before and during an answer."""
    exhausted: bool = False
    """The account has nothing left at this provider: waiting does not help, another provider may."""


class Vendor(Protocol):
    """What governor asks of a provider's client library. All functions are pure but `build`; none changes its arguments."""

    FAMILY: str
    """`bedrock`, `anthropic`, `openai` or `generic`: models of one family understand each other's bound arguments."""
    PROVIDERS: tuple[str, ...]
    """`init_chat_model`'s names for this vendor, its own first."""

    def is_mine(self, model: BaseChatModel) -> bool:
        """Whether this vendor's client classes include the model's."""
        ...

    def model_ref(self, model: BaseChatModel) -> ModelRef:
        """Provider and model id. For inference profiles and ARNs the base model, if the client was told it."""
        ...

    def build(self, tier: Tier) -> BaseChatModel:
        """A client for a tier. It makes one attempt per call, since every attempt has its own reservation.

        Raises ConfigurationError for a missing extra, missing credentials or arguments that the client refuses.
        """
        ...

    def single_attempt(self, model: BaseChatModel) -> tuple[BaseChatModel, int]:
        """A copy of the client that sends each call once, and how often the client itself sends a failed one again.

        The client itself, with 0, when it never does or nothing is known of it. The copy shares its connections.
        """
        ...

    def max_output(self, model: BaseChatModel, kwargs: Mapping[str, Any]) -> int | None:
        """The output tokens that user code allowed, on the call or the client, all choices together; None when it set no limit."""
        ...

    def price_percent(self, settings: Mapping[str, Any]) -> int:
        """Percent of the listed price that these arguments of a client or of a call ask for (a faster class of service); usually 100."""
        ...

    def with_max_output(self, model: BaseChatModel, kwargs: Mapping[str, Any], n: int) -> dict[str, Any]:
        """Call arguments under which at most `n` output tokens are generated, whatever the instance or user code say."""
        ...

    def limited(self, model: BaseChatModel, n: int) -> BaseChatModel:
        """The client to send such a call with: a copy with the limit `n` where the client's own would win over the call's, else itself."""
        ...

    def takes_limit(self, model: BaseChatModel) -> bool:
        """Whether an output limit gets onto the wire at all. Where it does not, nothing bounds what a call costs."""
        ...

    def writes_openly(self, model: BaseChatModel, kwargs: Mapping[str, Any]) -> bool:
        """Whether a stream of this request shows all output that is billed, and ends at the provider when its reader leaves.

        False where the model may reason unseen, where the provider's own tools work for it, and where nothing is known.
        """
        ...

    def hosted(self, model: BaseChatModel, kwargs: Mapping[str, Any]) -> tuple[HostedTool, ...]:
        """The tools of a request that the provider runs itself, with what a use of each costs."""
        ...

    def with_hosted_uses(self, kwargs: Mapping[str, Any], n: int) -> dict[str, Any]:
        """Call arguments under which each such tool without a limit of its own (`settable`) is used at most `n` times."""
        ...

    def hosted_uses(self, message: BaseMessage) -> Mapping[str, int]:
        """How often an answer used them, by `HostedTool.name`."""
        ...

    def mark(
        self, model: BaseChatModel, messages: Sequence[BaseMessage], kwargs: Mapping[str, Any], plan: CachePlan
    ) -> tuple[list[BaseMessage], dict[str, Any]]:
        """The request with prompt-cache markers. `plan` counts positions in `messages`; only marked messages are copied."""
        ...

    def classify(self, error: BaseException) -> Failure:
        """What a failure means for the reservation."""
        ...

    def finish(self, message: BaseMessage) -> Finish:
        """Why the answer ended."""
        ...

    def strip_foreign(self, messages: Sequence[BaseMessage]) -> list[BaseMessage]:
        """The messages without content that only another vendor accepts. Unchanged messages are the same objects."""
        ...


_PACKAGES = {
    "governor_bedrock": "langchain_aws",
    "governor_bedrock.invoke_model": "langchain_aws",
    "governor_anthropic": "langchain_anthropic",
    "governor_openai": "langchain_openai",
}
"""Vendor package to the library whose classes it knows."""
_EXTRAS = {
    "bedrock": "bedrock",
    "bedrock_converse": "bedrock",
    "amazon_bedrock": "bedrock",
    "anthropic": "anthropic",
    "openai": "openai",
    "azure_openai": "openai",
}
"""Provider, as `init_chat_model` or a model's tracing parameters name it, to the extra that brings its client."""


def vendor_of(model: BaseChatModel) -> Vendor:
    """The vendor of a client. Never fails: an unknown class is served by the generic vendor."""
    for package in _candidates(type(model)):
        vendor = _load(package)
        if vendor.is_mine(model):
            return vendor
    return _load("governor_langgraph.generic")


@lru_cache(maxsize=256)
def _candidates(client: type[BaseChatModel]) -> tuple[str, ...]:
    """The packages whose library one of the class's bases comes from."""
    libraries = {base.__module__.partition(".")[0] for base in client.__mro__}
    return tuple(package for package, library in _PACKAGES.items() if library in libraries)


def vendor_named(provider: str) -> Vendor:
    """The vendor that builds clients for `provider` (`bedrock_converse`, `anthropic`, `openai`, ...).

    Raises ConfigurationError when the extra that brings its client is not installed.
    """
    extra = _EXTRAS.get(provider)
    if extra is None:
        return _load("governor_langgraph.generic")
    package = f"governor_{extra}"
    if importlib.util.find_spec(_PACKAGES[package]) is None:
        library = _PACKAGES[package].replace("_", "-")
        message = f"provider {provider} needs {library}: pip install 'langgraph-governor[{extra}]'"
        raise ConfigurationError(message)
    return _load(package)


@cache
def _load(package: str) -> Vendor:
    return cast("Vendor", importlib.import_module(package))
