"""What a package offers is what it says it offers: `__all__`, its namespace and its docstrings agree."""

import importlib
import inspect
from types import ModuleType

import pytest

from tests.house.sources import import_packages

PACKAGES = list(import_packages())


def order(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions: how ruff sorts `__all__`."""
    return (0 if name.isupper() else 1 if name[:1].isupper() else 2), name


def offered(package: ModuleType) -> set[str]:
    """The public names of a package's namespace that are ours: not modules, not what it imported from others."""
    return {
        name
        for name, value in vars(package).items()
        if not name.startswith("_")
        and not inspect.ismodule(value)
        and str(getattr(value, "__module__", package.__name__)).split(".")[0] in PACKAGES
    }


@pytest.mark.parametrize("name", PACKAGES)
def test_all_is_sorted_and_every_name_in_it_exists(name: str) -> None:
    package = importlib.import_module(name)

    assert sorted(set(package.__all__), key=order) == list(package.__all__)
    assert [] == [public for public in package.__all__ if not hasattr(package, public)]


@pytest.mark.parametrize("name", PACKAGES)
def test_all_leaves_no_public_name_out(name: str) -> None:
    package = importlib.import_module(name)

    assert set() == offered(package) - set(package.__all__)


@pytest.mark.parametrize("name", PACKAGES)
def test_every_public_class_and_function_says_what_it_is_for(name: str) -> None:
    package = importlib.import_module(name)
    public = {entry: getattr(package, entry) for entry in package.__all__}
    documentable = {
        entry: value for entry, value in public.items() if inspect.isclass(value) or inspect.isfunction(value)
    }

    assert (package.__doc__ or "").strip()
    assert [] == [entry for entry, value in documentable.items() if not (value.__doc__ or "").strip()]
