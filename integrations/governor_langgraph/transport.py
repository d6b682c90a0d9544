"""The last line: HTTP requests to model providers that no governed call is making.

A raw `boto3`, `openai`, `anthropic` or `httpx` client in a node passes by every hook on LangChain's classes. Its request is recognised
where it leaves: refused under `mediation: strict`, reported under `mediation: lenient`. Only requests that make a model answer are looked
at; embeddings, tools' own services and everything else pass untouched.
"""

from __future__ import annotations

import http.client
import importlib
import re
from functools import partial
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from governor_langgraph.clients import drop_placeholder
from governor_langgraph.context import current_step, model_taken
from governor_langgraph.gateways import hear
from governor_langgraph.second_line import refuse_ungoverned
from governor_langgraph.wire import tap_events, tap_response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["asks_a_model", "hooks"]

_ANYWHERE = re.compile(
    r"/chat/completions$"
    r"|/model/(?!.*(?:embed|rerank))[^/]+/(?:converse|converse-stream|invoke|invoke-with-response-stream)$"
    r"|:(?:generateContent|streamGenerateContent|rawPredict|streamRawPredict)$"
)
"""Paths that only model providers have, on any host: gateways and emulators take the same ones.
Bedrock Runtime, OpenAI chat completions, Gemini and Vertex API references."""
_AT_A_PROVIDER = re.compile(r"/(?:completions|responses|messages|complete|chat|generate)$")
"""Paths that mean a model call at a provider of models, and something else elsewhere."""
_PROVIDERS = re.compile(
    r"(?:^|\.)(?:api\.anthropic\.com|api\.openai\.com|openai\.azure\.com|services\.ai\.azure\.com|api\.mistral\.ai|api\.cohere\.com"
    r"|api\.cohere\.ai|api\.groq\.com|api\.together\.xyz|api\.fireworks\.ai|openrouter\.ai|api\.deepseek\.com|api\.x\.ai"
    r"|gateway\.ai\.cloudflare\.com|api\.portkey\.ai|api\.perplexity\.ai)$"
)


def asks_a_model(method: str, host: str, path: str) -> bool:
    """Whether an HTTP request makes a model answer."""
    if method.upper() != "POST":
        return False
    path = path.partition("?")[0].rstrip("/")
    return _ANYWHERE.search(path) is not None or (
        _AT_A_PROVIDER.search(path) is not None and _PROVIDERS.search(host.lower()) is not None
    )


def hooks() -> Iterator[tuple[Any, str, Callable[[Any], Any]]]:
    """What is hooked, and by what. Clients that are not installed are not looked for."""
    yield http.client.HTTPConnection, "putrequest", _putrequest  # urllib, urllib3, requests and botocore end here
    for name in ("httpx", "httpx2"):
        try:
            library = importlib.import_module(name)
        except ImportError:
            continue
        yield library.Client, "send", partial(_send, library=library)
        yield library.AsyncClient, "send", partial(_asend, library=library)
    try:
        events = importlib.import_module("botocore.eventstream")
    except ImportError:
        return
    yield events.EventStream, "__init__", tap_events


def _putrequest(original: Callable[..., None]) -> Callable[..., None]:
    def putrequest(self: http.client.HTTPConnection, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        host, path = _destination(self, url)
        _look(method, host, path)
        original(self, method, url, *args, **kwargs)

    return putrequest


def _destination(connection: http.client.HTTPConnection, url: str) -> tuple[str, str]:
    """Whom a request is for. Through a proxy the connection's own host is the proxy's."""
    given = urlsplit(url)
    tunnel: str | None = getattr(connection, "_tunnel_host", None)
    return given.hostname or tunnel or connection.host, given.path


def _send(original: Callable[..., Any], *, library: Any) -> Callable[..., Any]:
    def send(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        _look(request.method, request.url.host, request.url.path)
        drop_placeholder(request.headers)
        response = original(self, request, *args, **kwargs)
        hear(request.url.host, response.headers)
        return tap_response(response, library)

    return send


def _asend(original: Callable[..., Any], *, library: Any) -> Callable[..., Any]:
    async def send(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        _look(request.method, request.url.host, request.url.path)
        drop_placeholder(request.headers)
        response = await original(self, request, *args, **kwargs)
        hear(request.url.host, response.headers)
        return tap_response(response, library)

    return send


def _look(method: str, host: str, path: str) -> None:
    """Raises CallDenied for a model call that nobody answers for."""
    if model_taken.get():
        return
    step = current_step()
    if step is not None and asks_a_model(cast("Any", method), host, path):
        refuse_ungoverned(step, f"{host}{path.partition('?')[0]}")
