"""What every test starts from: no credentials, no tracing, no wall-clock luck.

Sockets beyond loopback are closed by pytest-socket (see ``[tool.pytest]``), warnings are errors, and the order of tests
is shuffled. What is here is the rest of the isolation, and the options that more than one folder of tests reads.
"""

import functools
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import prefix_net
from tests.redis_server import RedisServer, private

_PROVIDER_PREFIXES = (
    "ANTHROPIC_",
    "AWS_",
    "AZURE_OPENAI_",
    "GOVERNOR_",
    "LANGCHAIN_",
    "LANGSMITH_",
    "OPENAI_",
    "OTEL_",
)
_PROXIES = ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY")


def _forget_the_developer() -> None:
    """Take a developer's own keys, endpoints, tracing and proxies out of the environment.

    Done on import, not in a fixture: clients read some of these when their module is imported, and subprocesses that
    tests start inherit them.
    """
    for name in list(os.environ):
        if name.startswith(_PROVIDER_PREFIXES) or name.upper() in _PROXIES:
            del os.environ[name]
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    os.environ["LANGCHAIN_TRACING_V2"] = "false"
    os.environ["LANGSMITH_TRACING"] = "false"


_forget_the_developer()


def _bound_memory(gibibytes: int = 4) -> None:
    """Let a test that never stops growing fail by itself, instead of taking the machine and every other test with it."""
    limit = gibibytes * 2**30
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or hard > limit:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


_bound_memory()

# `default` is the same everywhere, every time; `soak` looks for what `default` has not found yet.
settings.register_profile(
    "default", derandomize=True, max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("soak", max_examples=2_000, deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--corpus", metavar="DIR", default=None, help="recorded conversations for tests marked `corpus`")


LONGEST = (
    "test_matrix",
    "test_stop_matrix",
    "test_kill_summary",
    "test_invariants",
    "test_demo",
    "test_generated",
    "test_examples",
)
"""Files that take so long that a run would wait for them at its end, if they did not begin first."""


@pytest.hookimpl(trylast=True)  # after the shuffle, which keeps files together as well
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest."""
    items.sort(key=lambda item: item.path.stem not in LONGEST)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests measured (`record_property("figures", ...)`), also of those that failed and of other workers' tests."""
    reports: list[pytest.TestReport] = [
        each for outcome in ("passed", "failed") for each in terminalreporter.getreports(outcome)
    ]
    figures = [
        str(what) for each in reports if each.when == "call" for name, what in each.user_properties if name == "figures"
    ]
    if figures:
        terminalreporter.section("figures")
        for each in sorted(figures):
            terminalreporter.write_line(each)


@pytest.fixture(autouse=True)
def _prefix_net(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test in which a governed prompt moved its cached prefix and nothing in the trace says why."""
    prefix_net.hang()
    prefix_net.current = net = prefix_net.Net()
    yield
    prefix_net.current = None
    found = net.unexplained()
    if found and request.node.get_closest_marker("moves_prefix") is None:
        told = "\n".join(map(str, found[:5]))
        pytest.fail(
            f"{len(found)} prompts moved their cached prefix without a reason in the trace:\n{told}", pytrace=False
        )


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, the only loop LangGraph runs on."""
    return "asyncio"


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real Redis, shared by the session. A test takes keys or a database of its own, and never kills this one."""
    with private(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def corpus(request: pytest.FixtureRequest) -> Path:
    """The folder of recorded conversations, or a skip that says how to name one."""
    given = request.config.getoption("--corpus") or os.environ.get("CORPUS")
    if not given:
        pytest.skip("no recorded conversations: pass --corpus DIR or set CORPUS=DIR")
    return Path(str(given))


@pytest.fixture(autouse=True, scope="module")
def _clients_are_kept() -> None:
    """Let LangChain keep every provider client it makes, not the latest 128.

    It shares one HTTP client for each address, whose connections outlive the event loop that opened them. Every sandbox has an address
    of its own, so that a worker's tests make more than 128; the one that is dropped then warns in whatever test runs at that moment.
    """
    for module in [
        each for name, each in sys.modules.items() if name.startswith(("langchain_openai", "langchain_anthropic"))
    ]:
        for name, cached in list(vars(module).items()):
            if "httpx_client" in name and getattr(cached, "cache_parameters", dict)().get("maxsize"):
                setattr(module, name, _KEPT.setdefault(cached.__wrapped__, functools.cache(cached.__wrapped__)))


_KEPT: dict[object, object] = {}
"""Function that makes a client to the same with a memory for all of them; several modules may hold it."""
