"""A recorded run once more, call by call: a governed LangGraph graph, a real client class, and the sandbox as the provider.

The graph is an agent whose world is the recording. Its model node sends the conversation so far; the sandbox answers what was
recorded, so that the client's own form of that answer is what later prompts hold; then the recorded results and user messages
follow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

from governor.policy import load
from governor.runtime import Runtime
from governor.stores.memory import MemoryStore
from governor_langgraph import govern
from governor_langgraph.recall import RECALL
from governor_sandbox import Conversation, Record, Reply, Sandbox, Scenario, ScriptedCall
from tests.bench.context.corpus import Run
from tests.bench.context.ours import moments, policy_of

__all__ = ["OUTPUT", "UNPARSED", "Replayed", "Script", "Studio", "normalised", "sound"]

OUTPUT = 10_000
"""Output limit of every client, tokens: what Nova Pro can write. The sandbox also writes recorded answers that are longer."""
STEPS = 100_000
"""A limit that no run comes near: without one governor warns of a graph that can go on for ever."""
UNPARSED = "_raw"
"""Recorded arguments that are no JSON object are sent as an object with this one key: no provider takes them otherwise."""


@dataclass(slots=True)
class Replayed:
    """What the provider saw of one run."""

    records: Sequence[Record] = ()
    orphans: int = 0
    """Tool results, over all requests, that do not answer a call of the message before them."""
    lost: int = 0
    """Requests without the task message."""
    altered: int = 0
    """Answers that reached the graph otherwise than they were recorded (cut short, say)."""
    unsent: int = 0
    """Recorded calls for which no request arrived."""

    @property
    def rejected(self) -> int:
        """Requests that the provider refused."""
        return sum(record.status != 200 for record in self.records)

    @property
    def faults(self) -> int:
        """All that must not be."""
        return self.rejected + self.orphans + self.lost + self.altered + self.unsent


@dataclass(slots=True)
class Script:
    """The provider's side of the run at hand: says what was recorded, looks at what it is sent."""

    run: Run
    seen: Replayed = field(default_factory=Replayed)
    at: int = 0
    """Position of the recorded answer to the request under way."""

    def __call__(self, talk: Conversation) -> Reply:
        task = _text(self.run.messages[self.run.task])
        self.seen.lost += not any(task in message.text for message in talk.messages if message.role == "user")
        called: set[str] = set()
        for message in talk.messages:
            self.seen.orphans += sum(result.id not in called for result in message.tool_results)
            called = {call.id for call in message.tool_calls}
        recorded = self.run.messages[self.at]
        calls = tuple(ScriptedCall(name=name, args=args, id=id_) for id_, name, args in _calls(recorded))
        return Reply(text=_text(recorded), tool_calls=calls, ignores_limit=True)

    def compare(self, answer: AIMessage) -> None:
        """Note whether the client hands out what was recorded."""
        recorded = self.run.messages[self.at]
        calls = [(call["id"], call["name"], call["args"]) for call in answer.tool_calls]
        self.seen.altered += (answer.text, calls) != (_text(recorded), _calls(recorded))


class Studio:
    """A sandbox in which runs are replayed one after the other, each with an empty cache and empty books."""

    def __init__(self, client: Callable[[Sandbox], BaseChatModel]) -> None:
        """`client` makes the model's client. Use as a context manager."""
        self._client = client
        self._script: Script | None = None
        self._now_ms = 0
        self._box = Sandbox(Scenario.from_callable(self._answer), clock=lambda: self._now_ms / 1_000)

    def __enter__(self) -> Studio:
        """Start the sandbox."""
        self._box.start()
        self._model = self._client(self._box)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self._box.stop()

    def replay(self, run: Run) -> Replayed:
        """Replay a `normalised` run under the benchmark's policy; it ends at the first request that is refused."""
        self._box.reset()
        script = self._script = Script(run)
        rules = load(
            {**policy_of(), "tools": {"default": "allow"}, "loops": {"mode": "observe"}, "limits": {"steps": STEPS}}
        )
        runtime = Runtime(rules, store=MemoryStore(), clock=lambda: self._now_ms)
        app = govern(self._graph(script), rules, runtime=runtime)
        given: Any = {"messages": [_message(each) for each in run.messages[: run.calls[0]]]}
        try:
            app.invoke(given, {"recursion_limit": 2 * len(run.calls) + 5})
        except Exception:
            if all(record.status == 200 for record in self._box.meter.records):
                raise  # the client's complaint about a refusal is expected, and anything else is a bug
        script.seen.records = self._box.meter.records
        script.seen.unsent = max(0, len(run.calls) - len(script.seen.records))
        return script.seen

    def _answer(self, talk: Conversation) -> Reply:
        assert self._script is not None
        return self._script(talk)

    def _graph(self, script: Script) -> Any:
        run, times = script.run, moments(script.run)
        model = self._model.bind_tools([dict(tool) for tool in run.tools]) if run.tools else self._model
        leading = [SystemMessage(run.system)] if run.system else []

        def agent(state: MessagesState) -> dict[str, Any]:
            call = _answers(state)
            self._now_ms, script.at = times[call], run.calls[call]
            answer = model.invoke([*leading, *state["messages"]])
            script.compare(answer)
            return {"messages": [answer]}

        def world(state: MessagesState) -> dict[str, Any]:
            call = _answers(state)
            return {"messages": [_message(each) for each in run.messages[run.calls[call - 1] + 1 : run.calls[call]]]}

        def goes_on(state: MessagesState) -> str:
            return "world" if _answers(state) < len(run.calls) else END

        graph = StateGraph(MessagesState)
        graph.add_node("agent", agent)
        graph.add_node("world", world)
        graph.add_node("tools", ToolNode([]))  # recall is offered where somebody answers it; no recorded agent calls it
        graph.add_edge(START, "agent")
        graph.add_conditional_edges("agent", goes_on, ["world", "tools", END])
        graph.add_edge("world", "agent")
        graph.add_edge("tools", "agent")
        return graph.compile()


def normalised(run: Run, dumps: Callable[[object], str]) -> Run:
    """The run with its calls' arguments written as a client writes them (`dumps`)."""
    messages: list[Mapping[str, Any]] = []
    for message in run.messages:
        calls = [
            {
                "id": id_,
                "type": "function",
                "function": {"name": name, "arguments": dumps(args)},
            }
            for id_, name, args in _calls(message)
        ]
        messages.append({**message, "tool_calls": calls} if calls else message)
    return replace(run, messages=messages)


def sound(run: Run) -> bool:
    """Whether a strict provider takes the run's own prompts, nothing changed: else a refusal would say nothing of governor.

    The last answer's calls have no results and need none: they are in no prompt.
    """
    messages = run.messages[: run.calls[-1]] if run.calls else []
    if not messages or messages[0]["role"] != "user":
        return False
    names = {tool["function"]["name"] for tool in run.tools}
    if RECALL in names or (not names and any(each.get("tool_calls") for each in messages)):
        return False
    open_calls: list[str] = []
    before = ""
    for message in messages:
        role, text = message["role"], _text(message)
        if role == "tool":
            if message.get("tool_call_id") not in open_calls:
                return False
            open_calls.remove(message["tool_call_id"])
        elif open_calls or (text and not text.strip()) or not (text or message.get("tool_calls")):
            return False
        if role == "assistant":
            open_calls = [call["id"] for call in message.get("tool_calls") or []]
            if before == role or len(set(open_calls)) < len(open_calls):
                return False
        before = role
    return not open_calls and before != "assistant"


def _answers(state: MessagesState) -> int:
    return sum(message.type == "ai" for message in state["messages"])


def _text(message: Mapping[str, Any]) -> str:
    return message.get("content") or ""


def _calls(message: Mapping[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Id, name and arguments of a message's calls."""
    calls = message.get("tool_calls") or []
    return [(call["id"], call["function"]["name"], _arguments(call["function"]["arguments"])) for call in calls]


def _arguments(text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = None
    return parsed if isinstance(parsed, dict) else {UNPARSED: text}


def _message(recorded: Mapping[str, Any]) -> AnyMessage:
    """A message that the recording contributes: a tool's or a user's (and the model's, where a run begins with one)."""
    text = _text(recorded)
    if recorded["role"] == "tool":
        return ToolMessage(text, tool_call_id=recorded["tool_call_id"], name=recorded.get("name"))
    return HumanMessage(text)
