"""`GovernorMiddleware`: the policy as one entry of `create_agent(middleware=[...])`.

Wrap hooks only: a node hook would cost a superstep per turn. They open a step around each model and tool call; what happens in it is
the same as under `govern`. In a graph that `govern` governs by the same policy and the same store they do nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import AIMessage

from governor_langgraph import hooks, tool_path
from governor_langgraph.answering import answered, requested
from governor_langgraph.context import run_var, tool_taken
from governor_langgraph.governing import Governor, ready
from governor_langgraph.langgraph_internals import var_child_runnable_config
from governor_langgraph.nodes import Entered, begin
from governor_langgraph.recall import recall_tool
from governor_langgraph.stops import GovernorStop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from os import PathLike

    from langchain_core.language_models import BaseChatModel

    from governor.policy.load import LoadedPolicy
    from governor.runtime import Runtime
    from governor.stores.contract import Store
    from governor_langgraph.context import GovernedStep

__all__ = ["GovernorMiddleware"]


class GovernorMiddleware(AgentMiddleware[Any, Any, Any]):
    """Governs one agent's model and tool calls; put it first, so that it is outermost.

    A stop ends the agent's loop with a last message that says why (`on_exhausted: finish`), or raises `governor.RunStopped`. Nodes,
    branches and sub-agents are out of a middleware's reach: for them, `govern` the graph.
    """

    def __init__(
        self,
        policy: str | PathLike[str] | Mapping[str, Any] | LoadedPolicy | Governor,
        *,
        store: Store | str | None = None,
        runtime: Runtime | None = None,
        clients: Mapping[str, BaseChatModel] | None = None,
        agent: str = "agent",
    ) -> None:
        """`agent` is the name that the `agent` scope and the spans get. Raises PolicyError."""
        super().__init__()
        self.governor = ready(policy, store=store, runtime=runtime, name=agent, clients=clients)
        self.tools = [recall_tool] if self.governor.caps_results else []
        hooks.install()

    @property
    def name(self) -> str:
        """Unique per policy, since an agent may carry several."""
        return f"GovernorMiddleware[{self.governor.policy.policy.name}]"

    def wrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """The model call, inside a step of this policy."""
        if self._covered():
            return handler(request)
        step = self._step(request.response_format)
        try:
            with Entered(step) as active, active:
                return handler(request)
        except GovernorStop as stopped:
            return self._last_message(step, stopped)

    async def awrap_model_call(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """The async twin of `wrap_model_call`."""
        if self._covered():
            return await handler(request)
        step = self._step(request.response_format)
        try:
            async with Entered(step) as active:
                with active:
                    return await handler(request)
        except GovernorStop as stopped:
            return self._last_message(step, stopped)

    def wrap_tool_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """The tool call, inside a step of this policy."""
        if self._covered():
            return handler(request)
        step, known, passed = self._tool_step(), request.tool is not None, tool_taken.get() is not None
        try:
            with Entered(step) as active, active:
                return tool_path.wrap(
                    request.tool_call,
                    lambda: handler(request),
                    registered=known,
                    supplied=True,
                    passed=passed,
                    tool=request.tool,
                )
        except GovernorStop as stopped:
            return answered(step, requested(step, request.tool_call, registered=known, supplied=True), stopped)

    async def awrap_tool_call(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """The async twin of `wrap_tool_call`."""
        if self._covered():
            return await handler(request)
        step, known, passed = self._tool_step(), request.tool is not None, tool_taken.get() is not None
        try:
            async with Entered(step) as active:
                with active:
                    return await tool_path.awrap(
                        request.tool_call,
                        lambda: handler(request),
                        registered=known,
                        supplied=True,
                        passed=passed,
                        tool=request.tool,
                    )
        except GovernorStop as stopped:
            return answered(step, requested(step, request.tool_call, registered=known, supplied=True), stopped)

    def _covered(self) -> bool:
        run = run_var.get()
        return run is not None and run.covers(self.governor)

    def _step(self, response_format: object = None) -> GovernedStep:
        """A step of this policy's own. With structured output an agent does not end on a plain message, so a stop is raised then."""
        step = begin(self.governor, cast("Any", var_child_runnable_config.get()), recall=True)
        step.soft = self.governor.policy.policy.on_exhausted != "stop" and response_format is None
        return step

    def _tool_step(self) -> GovernedStep:
        """A step for a tool call. A stop in it is always answered, whatever becomes of the run at its next model call.

        Inside of a governed ToolNode the call was put through the outer policy already; what its body calls was not.
        """
        step = self._step()
        step.soft = True
        return step

    def _last_message(self, step: GovernedStep, stopped: GovernorStop) -> AIMessage:
        """A message without tool calls: it ends the loop by the agent's normal edge and is streamed like any other."""
        if not step.soft or stopped.run is not step.run:
            raise stopped
        reason = stopped.reason
        about = {"code": reason.code, "rule": reason.rule, "run": step.run.ref.id}
        return AIMessage(content=reason.text, response_metadata={"governor_stop": about})
