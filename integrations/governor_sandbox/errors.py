"""What can go wrong in the sandbox, as one tree.

SandboxError
├── ScenarioError     the author's mistake, with file and line
├── Rejection         what a real provider would answer instead of a completion
└── ClientGone        the client hung up while we were answering
"""

from __future__ import annotations

from typing import Literal

Kind = Literal[
    "invalid",
    "unauthenticated",
    "forbidden",
    "not_found",
    "throttled",
    "server",
    "unavailable",
    "timeout",
    "model_error",
]
"""The reasons a provider refuses, before each dialect gives them its own name and status."""


class SandboxError(Exception):
    """The sandbox cannot do what it was asked, and says what to do about it."""


class ScenarioError(SandboxError):
    """A scenario is wrong: reported as ``file:line: what``, so an editor can jump there.

    Args:
        detail: What is wrong and what would be right.
        source: The file's name, or ``<scenario>`` for text that came from no file.
        line: 1-based line, or None when the mistake belongs to no line.
    """

    def __init__(self, detail: str, *, source: str = "<scenario>", line: int | None = None) -> None:
        """Keep the parts as fields, so that tests and tools need not parse the text."""
        self.detail = detail
        self.source = source
        self.line = line
        super().__init__(f"{source}:{line}: {detail}" if line else f"{source}: {detail}")


class Rejection(SandboxError):
    """A request is refused the way the real API refuses it; it costs nothing.

    Args:
        kind: Why, in the sandbox's words; the dialect picks status and error code.
        message: The provider's own wording, as clients and people search for it.
        param: The offending parameter (OpenAI names it in the error body).
        code: OpenAI's machine-readable code.
        retry_after_s: Sent as ``Retry-After`` when given, in seconds.
    """

    def __init__(
        self,
        kind: Kind,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        """Keep the parts as fields; the text is the provider's message."""
        self.kind: Kind = kind
        self.message = message
        self.param = param
        self.code = code
        self.retry_after_s = retry_after_s
        super().__init__(message)


class ClientGone(SandboxError):
    """The peer closed its connection; whatever was generated so far is still billed."""
