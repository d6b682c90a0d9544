"""The sandbox itself: start it, point unmodified clients at it, read its bill."""

from __future__ import annotations

import errno
import json
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from pydantic import ValidationError

from governor_sandbox.dialect import Answered
from governor_sandbox.errors import SandboxError
from governor_sandbox.exchange import Exchange
from governor_sandbox.faults import Fault
from governor_sandbox.gateways import Cloudflare, LiteLLM, Portkey
from governor_sandbox.meter import Meter
from governor_sandbox.scenario import Scenario
from governor_sandbox.wire import LoopbackServer

HOST = "127.0.0.1"
REGION = "us-east-1"
MOST_PORT = 65_535
"""TCP has 16 bits for it."""


class Sandbox:
    """Three providers on one loopback port, answering from a scenario.

    Use it as a context manager; nothing is bound before that.

    Args:
        scenario: Who answers what; by default every model says ``ok``.
        port: 0 takes a free one.
        clock: Seconds, read for cache lifetimes only. A frozen clock plus `advance` makes expiry exact.
    """

    def __init__(
        self, scenario: Scenario | None = None, *, port: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Prepare; see `start`."""
        self.meter = Meter()
        self._asked_port = port
        self._clock = clock
        self._advanced_s = 0.0
        self._exchange = Exchange(scenario or Scenario.always("ok"), self.meter, self.now)
        self._server: LoopbackServer | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Start serving."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, ending every connection."""
        self.stop()

    def start(self) -> None:
        """Bind and serve in the background.

        Raises:
            SandboxError: The port is taken, or is none.
        """
        if not 0 <= self._asked_port <= MOST_PORT:
            raise SandboxError(
                f"port {self._asked_port} is not between 0 and {MOST_PORT}: choose another with --port (0 takes a free one)"
            )
        try:
            self._server = LoopbackServer((HOST, self._asked_port), self._exchange, self._control)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            raise SandboxError(
                f"port {self._asked_port} on {HOST} cannot be used ({error.strerror}): "
                "stop what listens there, or choose another with --port (0 takes a free one)"
            ) from error
        serve = self._server.serve_forever
        self._thread = threading.Thread(
            target=serve, kwargs={"poll_interval": 0.02}, name="governor-sandbox", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop serving; may be called twice."""
        server, thread = self._server, self._thread
        if server is None or thread is None:
            return
        self._server = self._thread = None
        server.shutdown()
        server.hang_up()
        server.server_close()
        thread.join()

    @property
    def port(self) -> int:
        """The port that was bound."""
        return self._running().server_address[1]

    @property
    def url(self) -> str:
        """The base of all routes, such as ``http://127.0.0.1:4100``."""
        return f"http://{HOST}:{self.port}"

    def bedrock_kwargs(self) -> dict[str, Any]:
        """What `ChatBedrockConverse` needs besides ``model``."""
        return {
            "endpoint_url": self.url,
            "region_name": REGION,
            "aws_access_key_id": "sandbox",
            "aws_secret_access_key": "sandbox",
        }

    def openai_kwargs(self) -> dict[str, Any]:
        """What `ChatOpenAI` needs besides ``model``."""
        return {"base_url": f"{self.url}/v1", "api_key": "sandbox"}

    def anthropic_kwargs(self) -> dict[str, Any]:
        """What `ChatAnthropic` needs besides ``model``."""
        return {"base_url": self.url, "api_key": "sandbox"}

    def env(self) -> dict[str, str]:
        """The same as environment variables, for clients built by code you do not touch."""
        return {
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": self.url,
            "AWS_ACCESS_KEY_ID": "sandbox",
            "AWS_SECRET_ACCESS_KEY": "sandbox",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "OPENAI_BASE_URL": f"{self.url}/v1",
            "OPENAI_API_KEY": "sandbox",
            "ANTHROPIC_BASE_URL": self.url,
            "ANTHROPIC_API_KEY": "sandbox",
            "NO_PROXY": f"{HOST},localhost",
        }

    @property
    def cloudflare(self) -> Cloudflare:
        """The gateway at ``/cloudflare/v1/{account}/{gateway}/...``."""
        return self._exchange.cloudflare

    @property
    def litellm(self) -> LiteLLM:
        """The proxy at ``/litellm``."""
        return self._exchange.litellm

    @property
    def portkey(self) -> Portkey:
        """The gateway at ``/portkey/v1``."""
        return self._exchange.portkey

    def now(self) -> float:
        """The sandbox's clock, in seconds."""
        return self._clock() + self._advanced_s

    def advance(self, seconds: float) -> None:
        """Let cache entries age."""
        self._advanced_s += seconds

    def fault(self, fault: Fault) -> None:
        """Fail some later requests."""
        self._exchange.faults.add(fault)

    def wait_held(self, count: int = 1, timeout_s: float = 10.0) -> bool:
        """Wait until that many requests are held by a ``timeout`` fault; False when they are not in time."""
        return self._running().holds.wait_for(count, timeout_s)

    def release(self) -> None:
        """Let held requests go on."""
        self._running().holds.release()

    def reset(self) -> None:
        """Empty the bill and the prompt cache, and restart every count; the clock goes on."""
        self._exchange.reset()

    def _running(self) -> LoopbackServer:
        if self._server is None:
            raise SandboxError("the sandbox is not running: use `with Sandbox(...) as box:`")
        return self._server

    def _control(self, path: str, body: Any) -> Answered:
        """The routes under ``/_sandbox/``, for other processes."""
        name, _, query = path.removeprefix("/_sandbox/").partition("?")
        try:
            status, data = 200, self._act(name, query, body)
        except (KeyError, TypeError, ValueError, ValidationError) as error:
            status, data = 400, {"message": f"{name}: {error}"}
        return Answered(status=status, body=json.dumps(data).encode())

    def _act(self, name: str, query: str, body: Any) -> Any:
        posted = body is not None
        since: int | str = query.removeprefix("since=") if query.startswith("since=") else 0
        records = self.meter.since(int(since) if isinstance(since, str) and since.isdigit() else since)
        match name, posted:
            case "bill", False:
                return self.meter.bill(records).as_json()
            case "requests", False:
                return [record.as_json() for record in records]
            case "reset", True:
                self.reset()
            case "clock", True:
                self.advance(float(body["advance_s"]))
            case "mark", True:
                return {"since": self.meter.mark(str(body["label"]))}
            case "fault", True:
                self.fault(Fault.model_validate(body))
            case "release", True:
                self.release()
            case _:
                raise KeyError("GET bill, requests; POST reset, clock, mark, fault, release")
        return {"ok": True}
