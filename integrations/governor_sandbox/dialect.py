"""What the server needs of a provider: how to read a request and how to word an answer. One implementation per API."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import ValidationError

from governor_sandbox.catalogue import Finds, Model
from governor_sandbox.errors import Rejection
from governor_sandbox.meter import Usage
from governor_sandbox.output import CallPart, Output, TextPart
from governor_sandbox.prompt import Operation, Provider, Request, compact_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What the URL says: which API, what to do, and (Bedrock) with which model."""

    provider: Provider
    operation: Operation
    model: str | None = None
    stream: bool | None = None
    gateway: str | None = None
    """The gateway that the request goes through."""
    compat: bool = False
    """Whether it is the gateway's own endpoint in OpenAI's format, for models of every provider."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An output and what its request will be billed for."""

    request: Request
    output: Output
    usage: Usage
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A complete HTTP answer."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Chunk:
    """One write of a stream, and how many output tokens it carries."""

    data: bytes
    tokens: int = 0


class Dialect(Protocol):
    """One provider's wire protocol; stateless."""

    stream_content_type: str
    call_id_prefix: str

    def authenticate(self, headers: Mapping[str, str]) -> None:
        """Refuse a request without credentials, any will do; header names are in lower case."""
        ...

    def parse(self, target: Target, body: Mapping[str, Any], catalogue: Finds) -> Request:
        """Read a request as the real API would, or raise `Rejection` as it would."""
        ...

    def counted(self, tokens: int) -> Mapping[str, Any]:
        """The answer to a token count."""
        ...

    def whole(self, draft: Draft) -> Mapping[str, Any]:
        """The answer in one piece."""
        ...

    def stream(self, draft: Draft) -> Iterator[Chunk]:
        """The answer piece by piece; the last chunk completes it."""
        ...

    def stream_error(self, rejection: Rejection) -> bytes:
        """An error event in mid-stream."""
        ...

    def error(self, rejection: Rejection, seq: int) -> Answered:
        """An error instead of an answer, with ``Retry-After`` where the rejection has one."""
        ...


def answered(data: Mapping[str, Any]) -> Answered:
    """A successful JSON answer."""
    return Answered(status=200, body=compact_json(data).encode())


def require(condition: object, message: str, *, param: str | None = None, code: str | None = None) -> None:
    """Reject the request as invalid unless the condition holds."""
    if not condition:
        raise Rejection("invalid", message, param=param, code=code)


def streamed(part: TextPart | CallPart, size: int) -> Iterator[tuple[str, int]]:
    """A part's text in pieces of ``size`` tokens, each with the tokens it really has."""
    for i in range(0, len(part.pieces), size):
        piece = part.pieces[i : i + size]
        yield "".join(piece), len(piece)


def deepest(error: ValidationError) -> tuple[str, str, list[str | int]]:
    """Kind, text and path of the mistake furthest inside: of a union, the branch that was meant."""
    found = max(error.errors(include_url=False), key=lambda detail: len(detail["loc"]))
    path = [part for part in found["loc"] if isinstance(part, int) or "[" not in part]
    return found["type"], found["msg"], path


def retry_after(rejection: Rejection) -> dict[str, str]:
    """The header that tells a client when to come back, in whole seconds."""
    return {} if rejection.retry_after_s is None else {"Retry-After": str(math.ceil(rejection.retry_after_s))}


def limit_of(asked: int | None, spec: Model) -> int:
    """The output limit of a request; without one a model may write as much as it can."""
    return spec.max_output if asked is None else asked
