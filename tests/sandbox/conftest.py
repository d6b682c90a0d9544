"""A running sandbox per test, on a clock that stands still until it is told to move."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, cast

import pytest

from governor_sandbox import Conversation, Reply, Sandbox, Scenario
from tests.sandbox.clients import ALL, Build

Answerer = Callable[[Conversation], Reply | str]
Serve = Callable[..., Sandbox]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a sandbox for a scenario: an object, YAML text, a function, or nothing."""
    with ExitStack() as stack:

        def start(scenario: Any = None, **settings: Any) -> Sandbox:
            if isinstance(scenario, str):
                scenario = Scenario.from_text(scenario)
            elif callable(scenario):
                scenario = Scenario.from_callable(cast("Answerer", scenario))
            return stack.enter_context(Sandbox(scenario, clock=lambda: 0.0, **settings))

        yield start


@pytest.fixture
def box(serve: Serve) -> Sandbox:
    """A sandbox whose models all say ``ok``."""
    return serve()


@pytest.fixture(params=sorted(ALL))
def build(request: pytest.FixtureRequest) -> Build:
    """Each of the three client classes in turn."""
    return ALL[request.param]
