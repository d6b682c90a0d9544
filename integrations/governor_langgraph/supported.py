"""Which versions of Python, LangGraph and LangChain governor is tested with. Beside any other it does not begin to work.

What reaches every call leans on names that these libraries do not promise to keep (`langgraph_internals`). Beside an untested version a
call might pass by unseen, so importing `governor_langgraph` fails instead, and says what to install.
"""

from __future__ import annotations

import platform
import re
from importlib.metadata import PackageNotFoundError, version

from governor.errors import ConfigurationError

__all__ = ["RANGES", "UnsupportedVersion", "require_supported"]

RANGES = {
    "Python": ("3.11", "3.14"),
    "langgraph": ("1.2.22", "1.3"),
    "langchain": ("1.4", "1.6"),
    "langchain-core": ("1.7", "1.9"),
}
"""The first version that is supported and the first that is not; `pyproject.toml` says the same."""


class UnsupportedVersion(ConfigurationError, ImportError):
    """Something governor works on is of a version that it was not tested with. The parts are attributes."""

    def __init__(self, name: str, found: str, supported: str, remedy: str) -> None:
        """`found` is the installed version, or says that there is none."""
        self.package, self.found, self.supported, self.remedy = name, found, supported, remedy
        super().__init__(f"governor_langgraph works with {name} {supported}; found is {found}. {remedy}")


def require_supported() -> None:
    """Raise UnsupportedVersion unless everything is of a tested version. Patch levels within the ranges are fine."""
    for name, (first, beyond) in RANGES.items():
        found = _found(name)
        if found is None or not _numbers(first) <= _numbers(found) < _numbers(beyond):
            supported = f">={first},<{beyond}"
            raise UnsupportedVersion(name, found or "none", supported, _remedy(name, supported))


def _remedy(name: str, supported: str) -> str:
    if name == "Python":
        return f"Run it with a Python {supported}."
    return f"Install one: pip install '{name}{supported}', or a langgraph-governor made for the version that you have."


def _found(name: str) -> str | None:
    if name == "Python":
        return platform.python_version()
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _numbers(written: str) -> tuple[int, ...]:
    """`1.3.0rc1` is (1, 3, 0): a candidate of an untested release is untested too."""
    return tuple(int(number) for number in re.split(r"[^\d.]", written, maxsplit=1)[0].split(".") if number)
