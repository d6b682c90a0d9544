"""The one place that touches what LangGraph and LangChain keep to themselves, each behind a small function that says why.

Public ways are used everywhere else, the methods that a model class has to implement among them (`_generate`, `_stream`). What is here has
none, so a release may move it: `tests/langgraph/test_internals.py` holds each name to the installed versions and says what changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from langchain_core.runnables.config import var_child_runnable_config
from langchain_core.tracers._streaming import _StreamingCallbackHandler as StreamingHandler
from langchain_core.tracers._streaming import _V2StreamingCallbackHandler as EventStreamingHandler
from langgraph._internal._config import ensure_config
from langgraph._internal._runnable import RunnableCallable, RunnableSeq
from langgraph.func import _TaskFunction  # pyright: ignore[reportPrivateUsage] - what `@task` makes has no public name
from langgraph.pregel import _algo as algorithm
from langgraph.pregel._read import DEFAULT_BOUND, PregelNode
from langgraph.pregel._write import ChannelWrite, ChannelWriteTupleEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from langchain_core.language_models import BaseChatModel
    from langchain_core.language_models.chat_model_stream import ChatModelStream
    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import Runnable
    from langchain_core.tools import BaseTool
    from langgraph.prebuilt import ToolNode
    from langgraph.runtime import RunControl

    Config = Mapping[str, Any]

__all__ = [
    "DEFAULT_BOUND",
    "TASKS",
    "ChannelWrite",
    "ChannelWriteTupleEntry",
    "EventStreamingHandler",
    "PregelNode",
    "RunnableCallable",
    "RunnableSeq",
    "StreamingHandler",
    "TaskFunction",
    "algorithm",
    "calls_in",
    "checkpointer_of",
    "combined_outputs",
    "control_of",
    "ensure_config",
    "executed",
    "is_resuming",
    "is_task",
    "messages_given",
    "messages_key",
    "own_functions",
    "prompt_given",
    "run_one",
    "runtime_of",
    "sent_beside",
    "set_run_one",
    "set_wrap_hooks",
    "share_generation_info",
    "starter",
    "streams",
    "var_child_runnable_config",
    "visible_args",
    "wrap_hooks",
]

# --- what a node's config carries for LangGraph itself; `conf` is the part under "configurable" ------------------------

TASKS = "__pregel_tasks"
"""Channel into which a branch writes its `Send`s."""


def sent_beside(conf: Config) -> int:
    """How many branches were sent (`Send`) into the superstep that a node runs in; 0 when nobody can tell.

    LangGraph keeps them in their channel until the superstep is over, so that the first branch knows of the last before that has begun.
    """
    read = conf.get("__pregel_read")
    if read is None:
        return 0
    try:
        return len(read(TASKS) or ())
    except (LookupError, TypeError):  # a graph without that channel, or another release's way of reading it
        return 0


def runtime_of(conf: Config) -> Any:
    """The runtime of the node that runs, None outside of one. `get_runtime` raises there, and reads another variable."""
    return conf.get("__pregel_runtime")


def control_of(conf: Config) -> RunControl | None:
    """What can be asked to drain the run; None outside of nodes."""
    return getattr(runtime_of(conf), "control", None)


def checkpointer_of(conf: Config) -> Any:
    """The checkpointer that a nested graph was handed by the one around it, None at the root."""
    return conf.get("__pregel_checkpointer")


def is_task(conf: Config) -> bool:
    """Whether a graph that is run with this config runs as, or in, a node of another graph."""
    return "__pregel_task_id" in conf


def is_resuming(conf: Config) -> bool:
    """Whether the graph around this one is being resumed, and this one with it."""
    return bool(conf.get("__pregel_resuming"))


TaskFunction: type[Any] = _TaskFunction
"""What `@task` makes of a function; its `func` is the function."""

# --- nodes ------------------------------------------------------------------------------------------------------------


def executed(node: PregelNode) -> Runnable[Any, Any] | None:
    """What LangGraph builds for a node to execute. Behind its cache: it alone knows what `RunnableSeq` takes in this version."""
    return cast("Any", PregelNode.node).func(node)


def wrap_hooks(node: ToolNode) -> tuple[Callable[..., Any] | None, Callable[..., Any] | None]:
    """The wrap hooks that a ToolNode was made with, sync and async."""
    given = cast("Any", node)
    return given._wrap_tool_call, given._awrap_tool_call


def set_wrap_hooks(node: ToolNode, hook: Callable[..., Any] | None, ahook: Callable[..., Any] | None) -> None:
    """Give a copy of a ToolNode other hooks. Making a new node instead would lose what a subclass added."""
    given = cast("Any", node)
    given._wrap_tool_call, given._awrap_tool_call = hook, ahook


def run_one(node: ToolNode) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """How a ToolNode runs one call, hooks and error handling included, sync and async."""
    given = cast("Any", node)
    return given._run_one, given._arun_one


def set_run_one(node: ToolNode, one: Callable[..., Any], aone: Callable[..., Any]) -> None:
    """Make a copy of a ToolNode run its calls in another way."""
    given = cast("Any", node)
    given._run_one, given._arun_one = one, aone


def own_functions(node: ToolNode) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """What a ToolNode runs, sync and async: bound to this node, where `func` of a copy is bound to the original."""
    given = cast("Any", node)
    return given._func, given._afunc


def calls_in(node: ToolNode, given: Any) -> Sequence[Any]:
    """The tool calls that a ToolNode is about to run for an input, in its order. Raises ValueError when there are none."""
    calls, _ = cast("Any", node)._parse_input(given)
    return calls


def messages_key(node: ToolNode) -> str:
    """Where in the state a ToolNode looks for messages."""
    return cast("Any", node)._messages_key


# --- tools and models -------------------------------------------------------------------------------------------------


def visible_args(tool: BaseTool, fields: dict[str, Any]) -> dict[str, Any]:
    """The arguments that a model gave, without what LangGraph injects (state, store, runtime)."""
    return cast("Any", tool)._filter_injected_args(fields)


def streams(model: BaseChatModel, kwargs: Mapping[str, Any], *, asynchronous: bool) -> bool:
    """Whether `stream` will stream; if not it falls into `generate`. Asked as `stream` itself asks."""
    return cast("Any", model)._should_stream(async_api=asynchronous, **{**kwargs, "stream": True})


def messages_given(model: BaseChatModel, given: Any) -> list[BaseMessage]:
    """A chat model's input as messages, converted as `stream` converts."""
    return cast("Any", model)._convert_input(given).to_messages()


def prompt_given(model: Any, given: Any) -> str:
    """A completion model's input as text, converted likewise."""
    return model._convert_input(given).to_string()


def combined_outputs(model: BaseChatModel, outputs: list[Any]) -> dict[str, Any]:
    """What several calls' answers say about the model, as one; as the model's own `generate` does."""
    return cast("Any", model)._combine_llm_outputs(outputs)


def starter(opened: Any) -> Callable[[], Any]:
    """What starts an event stream when it is first read; `set_start` has no getter."""
    return opened._ensure_started


def share_generation_info(reader: ChatModelStream, own: ChatModelStream) -> None:
    """Let two accumulators of one streamed answer share what the provider's stream says about it, which has no setter.

    Releases before 1.7.1 do not keep any.
    """
    info = getattr(reader, "_generation_info", None)
    if info is not None:
        cast("Any", own)._generation_info = info
