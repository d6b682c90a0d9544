"""One sandbox for the folder; each test starts with empty books and an empty prompt cache."""

from collections.abc import Iterator

import pytest

from governor_sandbox import Sandbox


@pytest.fixture(scope="session")
def running() -> Iterator[Sandbox]:
    with Sandbox() as box:
        yield box


@pytest.fixture
def box(running: Sandbox) -> Sandbox:
    """A sandbox in which every model says `ok`."""
    running.reset()
    return running


@pytest.fixture(autouse=True)
def no_metadata_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3 asks EC2's metadata service for credentials, where it is not told not to."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
