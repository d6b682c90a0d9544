"""Models called in plain functions, no agent framework: nodes, a conditional edge and token streaming are governed all the same."""

from __future__ import annotations

from typing import Any, TypedDict

from langchain_aws import ChatBedrockConverse
from langgraph.graph import END, START, StateGraph

from governor_langgraph import govern, watch
from governor_sandbox import Sandbox, Scenario

POLICY = "governor: 1\nname: writer\nbudgets: [{id: run, scope: run, limit: {usd: 0.10, model_calls: 5}}]\n"
SCENARIO = """
rules:
  - {when: {task: {matches: "^Draft"}}, reply: "A governor keeps an engine from running away, and an agent too."}
default: " No.\\n"                           # the critic is never content
"""


class Text(TypedDict):
    """State: what was written so far."""

    draft: str


def build(model: ChatBedrockConverse) -> Any:
    """Write, let the model judge on the edge, write again: a loop without end, as code has them."""

    def write(state: Text) -> Text:
        asked = f"Draft a line, better than: {state['draft']}"
        return {"draft": "".join(chunk.text for chunk in model.stream(asked))}

    def judge(state: Text) -> str:
        return END if model.invoke(f"Is this good? {state['draft']}").text == "yes" else "write"

    graph = StateGraph(Text)
    graph.add_node("write", write)
    graph.add_edge(START, "write")
    graph.add_conditional_edges("write", judge, [END, "write"])
    return graph.compile()


def main() -> tuple[str, int, str]:
    """Stream the tokens; return them, the provider's own count of calls, and why the run ended."""
    with Sandbox(Scenario.from_text(SCENARIO)) as box, watch() as runs:
        app = govern(build(ChatBedrockConverse(model="amazon.nova-micro-v1:0", **box.bedrock_kwargs())), POLICY)
        tokens = "".join(chunk.text for chunk, _ in app.stream({"draft": ""}, stream_mode="messages"))
        calls = len(box.meter.records)
    why = runs[0].stopped.text if runs[0].stopped else "done"
    print(tokens, f"{calls} calls; {why}", sep="\n")
    return tokens, calls, why


if __name__ == "__main__":
    main()
