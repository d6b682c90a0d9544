"""Hooks: how calls inside node code are reached, whatever way they are made.

Methods of LangChain's models and tools, of LangGraph's graphs and of the standard library's threads are replaced once, by the first
`govern`. All of it is inert outside of governed runs: the first thing each replacement does is to look at a context variable. Other
instrumentations of the same methods may come before or after.
"""

from __future__ import annotations

import functools
import inspect
import threading
from types import FunctionType
from typing import TYPE_CHECKING, Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.llms import BaseLLM
from langchain_core.tools import BaseTool
from langchain_core.tracers.context import register_configure_hook

from governor_langgraph import chat_hooks, completion_hooks, inner, provider_hooks, threads, tool_hooks, transport
from governor_langgraph.context import second_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["covers", "install", "installed", "uninstall"]

_lock = threading.Lock()
_installed: dict[tuple[Any, str], tuple[Any, Any]] = {}
"""(class or module, name) to the original and to what replaced it."""
_left: dict[tuple[Any, str], tuple[Callable[..., Any], Callable[..., Any]]] = {}
"""The same of hooks that could not be taken out, because another instrumentation has wrapped them: they are taken up again."""
_registered: list[object] = []
"""LangChain has no way to take a configure hook back; once is enough, since it does nothing while its variable is unset."""


def install() -> None:
    """Put the hooks in place. Does nothing when they are."""
    with _lock:
        if _installed:
            return
        if not _registered:
            register_configure_hook(second_line, inheritable=False)
            _registered.append(second_line)
        for owner, name, hook in _hooks():
            original = getattr(owner, name, None)
            if original is None:
                continue  # older releases have no events of the third version
            left = _left.pop((owner, name), None)
            if left is not None and _holds(original, left[1]):
                _installed[owner, name] = left  # two of them would count a call twice
                continue
            replacement = functools.wraps(original)(hook(original))
            _installed[owner, name] = (original, replacement)
            setattr(owner, name, replacement)
        for base, overridden in _OVERRIDES.items():
            _on_subclass(base)
            for each in _below(base):
                _cover(each, overridden)


def uninstall() -> None:
    """Take the hooks out again. One that another instrumentation has wrapped meanwhile stays, inert, where it is."""
    with _lock:
        for (owner, name), (original, replacement) in _installed.items():
            current = cast("Mapping[str, Any]", vars(owner)).get(name)
            if current is replacement:
                setattr(owner, name, original)
            elif _holds(current, replacement):
                _left[owner, name] = (original, replacement)
        for base in _OVERRIDES:
            if _installed and "__pydantic_init_subclass__" in vars(base):
                del base.__pydantic_init_subclass__
            for each in _below(base):
                _uncover(each)
        _installed.clear()


def installed() -> bool:
    """Whether the hooks are in place."""
    return bool(_installed)


def covers(cls: type[Any], name: str) -> bool:
    """Whether a call of this method of this class meets a hook, its own or one that another instrumentation has wrapped."""
    owner = next((each for each in cls.__mro__ if name in vars(each)), None)
    own: Any = vars(owner)[name] if owner is not None else None
    replacement = _installed.get((owner, name), (None, None))[1]
    while own is not None:
        if own is replacement or hasattr(own, _MARK):
            return True
        own = getattr(own, "__wrapped__", None)
    return False


def _holds(function: Any, replacement: object) -> bool:
    """Whether a function is, or wraps, a hook of ours."""
    while function is not None and function is not replacement:
        function = getattr(function, "__wrapped__", None)
    return function is replacement


# --- subclasses: a model may have its own way of doing what the base class does ---------------------------------------


def _below(base: type[Any]) -> Iterator[type[Any]]:
    """Every subclass there is now, deepest last."""
    seen: set[type[Any]] = set()
    waiting = list(base.__subclasses__())
    while waiting:
        each = waiting.pop()
        if each not in seen:
            seen.add(each)
            waiting += each.__subclasses__()
            yield each


def _cover(cls: type[Any], overridden: Mapping[str, Callable[[Any], Any]]) -> None:
    for name, hook in overridden.items():
        own: Any = cast("Mapping[str, Any]", vars(cls)).get(name)
        if inspect.isfunction(own) and not hasattr(own, _MARK):
            replacement = functools.wraps(own)(hook(own))
            setattr(replacement, _MARK, own)
            setattr(cls, name, replacement)


def _uncover(cls: type[Any]) -> None:
    for name, own in list(vars(cls).items()):
        # Another's wrapper passes for what it wraps, and is not ours to take off.
        original = getattr(own, _MARK, None) if type(own) is FunctionType else None
        if original is not None:
            setattr(cls, name, original)


def _on_subclass(base: type[Any]) -> None:
    """Cover classes that are made later. pydantic calls this for every new subclass once it is complete."""

    def __pydantic_init_subclass__(cls: type[Any], **kwargs: Any) -> None:
        cast("Any", super(base, cls)).__pydantic_init_subclass__(**kwargs)
        if _installed:
            _cover(cls, _OVERRIDES[base])

    cast("Any", base).__pydantic_init_subclass__ = classmethod(__pydantic_init_subclass__)


_MARK = "_governor_original"
_OVERRIDES: Mapping[type[Any], Mapping[str, Callable[[Any], Any]]] = {
    BaseChatModel: {**chat_hooks.ENTRY_POINTS, **provider_hooks.PROVIDER_METHODS},
    BaseTool: tool_hooks.OVERRIDDEN,
    BaseLLM: {**completion_hooks.ENTRY_POINTS, **completion_hooks.PROVIDER_METHODS},
}
"""Methods that are hooked in each subclass that has its own. Those that reach a provider are in subclasses alone."""


def _hooks() -> Iterator[tuple[Any, str, Callable[[Any], Any]]]:
    """What is hooked, and by what."""
    for base, methods in (
        (BaseChatModel, {**chat_hooks.ENTRY_POINTS, **chat_hooks.EVENTS}),
        (BaseLLM, completion_hooks.ENTRY_POINTS),
        (BaseTool, tool_hooks.ENTRY_POINTS),
    ):
        for name, hook in methods.items():
            yield base, name, hook
    yield from inner.hooks()
    yield from threads.hooks()
    yield from transport.hooks()
