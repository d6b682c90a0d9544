"""Copies of a graph, its tools and its models in which everything of the user's is replaced by a tripwire.

A probe has to run a graph to see whether its calls are mediated, and must not run what the graph is made of. In a copy each body only
says that it was reached, so that even an escape does nothing. Whatever else a run could touch is left out: edges and writers, state
schemas and reducers, checkpointer, store and caches, retry, cache and trace policies, handlers of errors and of streams, callbacks.
"""

from __future__ import annotations

import copy
import inspect
import threading
from typing import TYPE_CHECKING, Any, NoReturn, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.llms import BaseLLM
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda, RunnableSequence
from langchain_core.tools import BaseTool
from langgraph.channels import EphemeralValue, LastValue, Topic
from langgraph.constants import START
from langgraph.prebuilt import ToolNode
from langgraph.pregel import Pregel
from langgraph.types import Send

from governor_langgraph.langgraph_internals import (
    DEFAULT_BOUND,
    TASKS,
    ChannelWrite,
    ChannelWriteTupleEntry,
    PregelNode,
    RunnableCallable,
    RunnableSeq,
    messages_key,
    wrap_hooks,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = [
    "Tripped",
    "Tripwire",
    "is_of_a_library",
    "tripwired_graph",
    "tripwired_model",
    "tripwired_runnable",
    "tripwired_tool",
]

AnyGraph = Pregel[Any, Any, Any, Any]


class Tripped(Exception):
    """A body of the user's would have run."""


class Tripwire:
    """Remembers which bodies were reached since it was last cleared. Safe to share between threads."""

    def __init__(self) -> None:
        """Nothing was reached yet."""
        self._lock = threading.Lock()
        self._reached: list[str] = []

    @property
    def reached(self) -> tuple[str, ...]:
        """What was reached, in order."""
        with self._lock:
            return tuple(self._reached)

    def clear(self) -> None:
        """Forget what was reached."""
        with self._lock:
            self._reached.clear()

    def trip(self, what: str) -> NoReturn:
        """Say that `what` was reached. Raises Tripped."""
        with self._lock:
            self._reached.append(what)
        raise Tripped(what)

    def function(self, what: str) -> Callable[..., Any]:
        """A function that trips, whatever it is called with."""

        def tripwire(*args: Any, **kwargs: Any) -> Any:
            del args, kwargs
            self.trip(what)

        return tripwire

    def coroutine(self, what: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        """The async twin of `function`."""

        async def tripwire(*args: Any, **kwargs: Any) -> Any:
            del args, kwargs
            self.trip(what)

        return tripwire


def is_of_a_library(cls: type[Any], name: str) -> bool:
    """Whether a method comes from LangChain, LangGraph or LangChain's package of a vendor, so that to run it runs nothing of the user's."""
    owner = next((each for each in cls.__mro__ if name in vars(each)), object)
    package = owner.__module__.partition(".")[0]
    return package in ("langchain", "langgraph", "pydantic", "builtins") or package.startswith("langchain_")


# --- graphs and their nodes -------------------------------------------------------------------------------------------


def tripwired_graph(graph: AnyGraph, wire: Tripwire, seen: dict[int, AnyGraph] | None = None) -> AnyGraph:
    """An ungoverned copy of a graph and of the graphs in its nodes, whose input is a `Send` to the node that is to run.

    `seen` keeps shared and self-referencing graphs one.
    """
    seen = {} if seen is None else seen
    if id(graph) in seen:
        return seen[id(graph)]
    new: Any = object.__new__(_library_class(type(graph)))
    seen[id(graph)] = new
    new.__dict__.update({name: value for name, value in graph.__dict__.items() if name != "__orig_class__"})
    new.__dict__.update({name: value for name, value in _HARMLESS.items() if name in graph.__dict__})
    new.channels = {
        **{name: LastValue(Any, name) for name in cast("Any", graph).channels},
        START: EphemeralValue(Any),
        TASKS: Topic(Send, accumulate=False),
    }
    new.input_channels = START
    new.nodes = {name: _node(name, node, wire, seen) for name, node in graph.nodes.items() if name != START}
    new.nodes[START] = PregelNode(channels=START, triggers=[START], writers=[ChannelWrite([_SENT])])
    return new


def _to_tasks(send: Any) -> list[tuple[str, Any]]:
    return [(TASKS, send)]


_SENT = ChannelWriteTupleEntry(mapper=_to_tasks)
"""What a copy does with its input, a `Send`: it runs that node with that input."""


_HARMLESS: dict[str, Any] = {
    "checkpointer": None,
    "store": None,
    "cache": None,
    "cache_policy": None,
    "retry_policy": (),
    "config": None,
    "context_schema": None,
    "debug": False,
    "interrupt_after_nodes": (),
    "interrupt_before_nodes": (),
    "node_error_handler_map": {},
    "schema_to_mapper": {},
    "step_timeout": None,
    "stream_transformers": (),
    "trigger_to_nodes": {},
    "_output_mapper": None,
    "_state_mapper": None,
}
"""Attributes of a graph that lead to code or infrastructure of the user's, with what stands in for them."""


def _library_class(cls: type[Any]) -> type[Any]:
    """The graph's class as LangGraph has it: neither governed already nor with methods of the user's own."""
    return next(
        each for each in cls.__mro__ if each.__module__.startswith("langgraph.") and "_governs" not in vars(each)
    )


def _node(name: str, node: PregelNode, wire: Tripwire, seen: dict[int, AnyGraph]) -> PregelNode:
    """A node with its body replaced. It is reached by `Send` alone, so what leads to it and away from it is left out."""
    bound = node.bound if node.bound is DEFAULT_BOUND else tripwired_runnable(name, node.bound, wire, seen)
    return PregelNode(
        channels=node.channels,
        triggers=(),
        writers=[ChannelWrite([])] if cast("Any", node).writers else [],
        bound=bound,
        subgraphs=[bound] if isinstance(bound, Pregel) else [],
    )


def tripwired_runnable(
    name: str, bound: Runnable[Any, Any], wire: Tripwire, seen: dict[int, AnyGraph] | None = None
) -> Runnable[Any, Any]:
    """A copy of the same kind, as far as the kind makes a difference to how LangGraph and governor run it."""
    seen = {} if seen is None else seen
    if isinstance(bound, Pregel):
        return tripwired_graph(cast("AnyGraph", bound), wire, seen)
    if isinstance(bound, ToolNode):
        return _tool_node(bound, wire)
    if isinstance(bound, RunnableSequence):
        return RunnableSequence(*_steps(name, bound, wire, seen), name=bound.name)
    if isinstance(bound, RunnableSeq):
        return RunnableSeq(*_steps(name, bound, wire, seen), name=bound.name)
    if type(bound) is RunnableCallable:
        held = cast("Any", bound)
        func, afunc = held.func and wire.function(name), held.afunc and wire.coroutine(name)
        return RunnableCallable(func, afunc, name=held.name, trace=held.trace)
    if type(bound) is RunnableLambda:
        return _lambda(name, cast("RunnableLambda[Any, Any]", bound), wire)
    return _Reached(name, wire)


def _steps(name: str, bound: Any, wire: Tripwire, seen: dict[int, AnyGraph]) -> list[Runnable[Any, Any]]:
    return [tripwired_runnable(name, each, wire, seen) for each in bound.steps]


def _lambda(name: str, bound: RunnableLambda[Any, Any], wire: Tripwire) -> RunnableLambda[Any, Any]:
    held = vars(bound)
    func, afunc = wire.function(name), wire.coroutine(name)
    named = held.get("name")  # not every way of making one sets it
    made: Any = RunnableLambda(func, afunc if "afunc" in held else None, name=named)
    return made if "func" in held else RunnableLambda(afunc, name=named)


class _Reached(Runnable[Any, Any]):
    """Any other runnable: a model, a tool, something of the user's own. All other ways of running it go through these two."""

    def __init__(self, name: str, wire: Tripwire) -> None:
        self.name = name
        self.wire = wire

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002 - Runnable's name
        """Trip."""
        self.wire.trip(self.name or "")

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002 - same
        """The async twin of `invoke`."""
        self.wire.trip(self.name or "")


def _tool_node(node: ToolNode, wire: Tripwire) -> ToolNode:
    """A plain ToolNode over tripwired tools; wrappers that user code gave trip too, and nothing handles errors."""
    name, (hook, ahook) = node.name or "tools", wrap_hooks(node)
    return ToolNode(
        [tripwired_tool(tool, wire) for tool in node.tools_by_name.values()],
        name=name,
        handle_tool_errors=False,
        messages_key=messages_key(node),
        wrap_tool_call=hook and wire.function(name),
        awrap_tool_call=ahook and wire.coroutine(name),
    )


# --- tools and models -------------------------------------------------------------------------------------------------


def tripwired_tool(tool: BaseTool, wire: Tripwire) -> BaseTool:
    """A tool of the same name that trips. It takes any arguments: to check them would run the validators of the user's schema."""
    reached = f"tool {tool.name}"

    class TripwiredTool(BaseTool):
        def _run(self, *args: Any, **kwargs: Any) -> Any:
            del args, kwargs
            wire.trip(reached)

        async def _arun(self, *args: Any, **kwargs: Any) -> Any:
            del args, kwargs
            wire.trip(reached)

    anything: dict[str, Any] = {"type": "object", "properties": {}}
    return TripwiredTool(name=tool.name, description=tool.description, args_schema=anything)


def tripwired_model(model: BaseChatModel | BaseLLM, wire: Tripwire) -> Any:
    """A model of a subclass of its own class, in which whatever reaches the provider trips, and no method of the user's is left.

    What the user's class overrides is LangChain's again, what it adds trips, and what it says about itself is a constant.
    """
    cls = type(model)
    base = BaseLLM if isinstance(model, BaseLLM) else BaseChatModel
    reached = f"model {cls.__name__}"
    members: dict[str, Any] = {"__module__": __name__}
    for name, own in _own(cls).items():
        if name in _ABOUT:
            members[name] = _ABOUT[name]
        elif name not in _CALLS and hasattr(base, name):
            members[name] = inspect.getattr_static(base, name)
        else:
            trips = (wire.coroutine if inspect.iscoroutinefunction(own) else wire.function)(reached)
            members[name] = property(trips) if isinstance(own, property) else trips
    for name in _PROVIDER:
        if getattr(cls, name, None) is not getattr(base, name, None):
            members[name] = (wire.coroutine if name in ("_agenerate", "_acall") else wire.function)(reached)
    return _instance(model, cast("Any", type(cls))(f"Tripwired{cls.__name__}", (cls,), members))


def _own(cls: type[Any]) -> dict[str, Any]:
    """Methods and properties that do not come from a library, pydantic's own hooks left out."""
    named = {name: value for each in reversed(cls.__mro__) for name, value in vars(each).items()}
    return {
        name: value
        for name, value in named.items()
        if (inspect.isfunction(value) or isinstance(value, property))
        and not name.startswith(("__", "model_"))
        and not is_of_a_library(cls, name)
    }


def _nothing(*args: Any, **kwargs: Any) -> dict[str, Any]:
    del args, kwargs
    return {}


def _kind(model: object) -> str:
    del model
    return "tripwired"


_PROVIDER = ("_generate", "_agenerate", "_stream", "_astream", "_call", "_acall")
_CALLS = ("generate", "agenerate", "stream", "astream", "invoke", "ainvoke", "batch", "abatch")
"""Public methods: one of the user's own must be seen to be reached."""
_ABOUT: dict[str, Any] = {
    "_llm_type": property(_kind),
    "_identifying_params": property(_nothing),
    "_get_ls_params": _nothing,
}
_QUIET: dict[str, Any] = {"cache": False, "callbacks": None, "rate_limiter": None, "custom_get_token_ids": None}
"""Fields of a model that lead to infrastructure or code of the user's."""


def _instance(model: BaseChatModel | BaseLLM, cls: type[Any]) -> Any:
    """The model's fields in an instance of another class, without running its validators."""
    new = object.__new__(cls)
    held = {**vars(model), **{name: value for name, value in _QUIET.items() if name in vars(model)}}
    object.__setattr__(new, "__dict__", held)
    for slot in ("__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__"):
        object.__setattr__(new, slot, copy.copy(getattr(model, slot)))
    return new
