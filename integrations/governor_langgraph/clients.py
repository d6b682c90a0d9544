"""Making a client for a tier: what the three vendors' constructors have in common."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from governor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from governor.policy.schema import Tier

__all__ = ["construct", "has_auth_header", "headers_of", "output_default"]

T = TypeVar("T")

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

AUTH_HEADERS = frozenset({"authorization", "x-api-key", "api-key", "cf-aig-authorization", "x-portkey-api-key"})
"""Headers that stand in for a provider's key: a gateway that holds the keys itself is authenticated by one of them."""


def headers_of(tier: Tier) -> dict[str, str]:
    """The tier's request headers with each `${NAME}` read from the environment.

    Raises ConfigurationError that names the header, the variable and the tier; never the value.
    """

    def read(match: re.Match[str], header: str) -> str:
        value = os.environ.get(match[1])
        if value is None:
            message = f"tier {tier.model}: header {header} needs the environment variable {match[1]}, which is not set"
            raise ConfigurationError(message)
        return value

    return {
        header: VARIABLE.sub(lambda match, header=header: read(match, header), text)
        for header, text in tier.request_headers.items()
    }


def has_auth_header(headers: Mapping[str, str]) -> bool:
    """Whether the headers authenticate on their own."""
    return any(name.lower() in AUTH_HEADERS for name in headers)


def output_default(tier: Tier, *names: str) -> dict[str, Any]:
    """`{names[0]: limit}` unless the tier's own arguments set it under any of these names, or it has no limit."""
    if tier.max_output_tokens is None or any(name in tier.args for name in names):
        return {}
    return {names[0]: int(tier.max_output_tokens)}


def construct(tier: Tier, make: Callable[..., T], arguments: Mapping[str, Any]) -> T:
    """Call a client class. Raises ConfigurationError, with the tier and what the class said, when it refuses its arguments.

    Values are left out of the message: a key may be among them, and pydantic would quote it.
    """
    try:
        return make(**arguments)
    except ValidationError as error:
        told = "; ".join(
            ": ".join(filter(None, (".".join(map(str, item["loc"])), item["msg"])))
            for item in error.errors(include_url=False, include_input=False, include_context=False)
        )
    except (TypeError, ValueError) as error:
        told = str(error)
    message = f"tier {tier.model}: its client refuses these arguments ({', '.join(sorted(arguments))}): {told}"
    raise ConfigurationError(message)
