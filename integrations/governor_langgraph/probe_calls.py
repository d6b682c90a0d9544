"""The part of a probe that is about tools and models which node code calls by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.language_models.llms import BaseLLM
from langchain_core.messages import HumanMessage
from langchain_core.tools import BaseTool, StructuredTool, Tool

from governor.errors import Refused
from governor_langgraph import hooks
from governor_langgraph.certificate import Cell, Row
from governor_langgraph.probing import CANNOT_RUN, MODEL_CALLS, STOPPED, TOOL_CALLS
from governor_langgraph.tripwires import is_of_a_library, tripwired_model, tripwired_tool
from governor_langgraph.vendors import vendor_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.language_models import BaseChatModel

    from governor_langgraph.stops import RunReport
    from governor_langgraph.trial import Missing, Trial

__all__ = ["model_rows", "tool_rows"]


def _refused_with(code: str) -> Missing:
    """The refusal of the path itself. One of the second line, which sees calls that no hook took, is no proof."""

    def missing(reports: list[RunReport], error: Exception | None) -> str | None:
        del reports
        if isinstance(error, Refused) and error.reason.code == code:
            return None
        return f"{type(error).__name__}: {error}" if error is not None else "it ended, and nothing had refused it"

    return missing


def tool_rows(trial: Trial, tools: tuple[BaseTool, ...]) -> Iterator[Row]:
    """Every tool, called by node code itself."""
    for tool in sorted(tools, key=lambda tool: tool.name):
        copy, cells = tripwired_tool(tool, trial.wire), dict[str, Cell]()
        for name, way in TOOL_CALLS.items():
            *before, last = _TOOL_METHODS[name]
            if not hooks.covers(type(tool), last):
                cells[name] = Cell(verdict="escaped", why=f"{type(tool).__name__}.{last} meets no hook")
            elif own := _own(type(tool), tuple(before)):
                cells[name] = Cell(verdict="not proven", why=f"{own} is the user's own, and was not run")
            elif not way.asynchronous and isinstance(tool, (StructuredTool, Tool)) and tool.func is None:
                cells[name] = Cell(verdict="-", why=CANNOT_RUN)
            else:
                cells[name] = trial.hosted(way, copy, {"q": "probe"}, trial.denies_tools, _refused_with("tool.refused"))
        yield Row(kind="tool", name=tool.name, cells=cells)


_TOOL_METHODS: dict[str, tuple[str, ...]] = {
    "tool.invoke": ("invoke", "run"),
    "tool.ainvoke": ("ainvoke", "arun"),
    "tool.run": ("run",),
    "tool.arun": ("arun",),
}
"""What a call goes through before it is a governed call."""


def model_rows(trial: Trial, models: tuple[BaseChatModel | BaseLLM, ...]) -> Iterator[Row]:
    """Every model, called by node code in a run that was stopped."""
    for name, model in sorted(((_named(model), model) for model in models), key=lambda pair: pair[0]):
        copy = tripwired_model(model, trial.wire)
        given = "probe" if isinstance(model, BaseLLM) else [HumanMessage("probe")]
        cells: dict[str, Cell] = {}
        for call, way in MODEL_CALLS.items():
            if call.startswith("_") and is_of_a_library(type(model), call) and not _reaches(type(model), call):
                cells[call] = Cell(verdict="-", why="its class has none of its own")
            elif call.startswith("_") and not hooks.covers(type(model), call):
                cells[call] = Cell(verdict="escaped", why=f"{type(model).__name__}.{call} meets no hook")
            elif own := _own(type(model), _UNHOOKED.get(call, ())):
                cells[call] = Cell(verdict="not proven", why=f"{own} is the user's own, and was not run")
            else:
                cells[call] = trial.hosted(way, copy, given, trial.denies_tools, _refused_with(STOPPED), stopped=True)
        yield Row(kind="model", name=name, cells=cells)


_UNHOOKED: dict[str, tuple[str, ...]] = {
    "invoke": ("invoke",),
    "ainvoke": ("ainvoke",),
    "stream": ("invoke",),
    "astream": ("ainvoke",),
    "batch": ("batch", "invoke"),
    "abatch": ("abatch", "ainvoke"),
}
"""What a call may go through before it comes to a method that is hooked."""


def _reaches(cls: type[Any], name: str) -> bool:
    """Whether a class has a provider method other than what LangChain's base classes make of its others."""
    owner = next((each for each in cls.__mro__ if name in vars(each)), object)
    return owner.__module__ not in (
        "langchain_core.language_models.chat_models",
        "langchain_core.language_models.llms",
        "builtins",
    )


def _named(model: BaseChatModel | BaseLLM) -> str:
    return type(model).__name__ if isinstance(model, BaseLLM) else str(vendor_of(model).model_ref(model))


def _own(cls: type[Any], names: tuple[str, ...]) -> str | None:
    own = next((name for name in names if not is_of_a_library(cls, name)), None)
    return own and f"{cls.__name__}.{own}"
