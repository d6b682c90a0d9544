"""The support desk as a LangGraph user would write it. Nothing here knows of governor.

planner -> check_order (one branch per order, in parallel) -> orders_desk (a subgraph) -> refunds_agent <-> refunds_tools -> writer
"""

from __future__ import annotations

import json
import operator
from collections.abc import Sequence
from typing import Annotated, Any

from langchain.agents import create_agent
from langchain_aws import ChatBedrockConverse
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AnyMessage, HumanMessage, SystemMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Send
from typing_extensions import TypedDict

from examples.support_desk.database import Database
from examples.support_desk.tools import order_tools, refund_tools

FRONTIER = "anthropic.claude-sonnet-4-5-20250929-v1:0"
HOUSE_RULES = (
    "Work for the customer, within the shop's policies. Quote orders by their number. Change nothing that was not asked for. "
    * 12
)
PLANNER = f"You plan the work on a customer's ticket. {HOUSE_RULES}Answer with JSON: orders (list of numbers) and refund (true or false)."
CHECKER = f"You check one order against a ticket. {HOUSE_RULES}Answer with one sentence about the order's state."
ORDERS = f"You are the orders desk. {HOUSE_RULES}Use your tools until the ticket's orders are in order, then report what you did."
REFUNDS = f"You are the refunds desk. {HOUSE_RULES}Read the policy and the payment before you refund anything, then report what you did."
WRITER = f"You write to the customer. {HOUSE_RULES}Three friendly sentences."


class Desk(TypedDict):
    """State of one ticket."""

    ticket: str
    orders: list[str]
    refund: bool
    findings: Annotated[list[str], operator.add]
    messages: Annotated[list[AnyMessage], add_messages]
    refund_messages: Annotated[list[AnyMessage], add_messages]
    reply: str


class Check(TypedDict):
    """What one branch of the fan-out is sent."""

    ticket: str
    order: str


def frontier() -> ChatBedrockConverse:
    """The model that the desk's author chose: the best, for everything."""
    return ChatBedrockConverse(model=FRONTIER, region_name="us-east-1", temperature=0, max_tokens=4096)


def desk() -> CompiledStateGraph[Any, Any, Any, Any]:
    """The desk as one deploys it, over a shop of its own: `examples.support_desk.app:desk` for whoever finds graphs by name.

    Its input is `{"ticket": "..."}`. `policies/support.yaml` counts by tenant, user and thread: name all three in the run's config.
    """
    return build_desk(frontier(), Database())


def build_desk(
    model: BaseChatModel, database: Database, *, middleware: Sequence[Any] = (), caching: dict[str, Any] | None = None
) -> CompiledStateGraph[Any, Any, Any, Any]:
    """The desk's graph. `middleware` goes to the orders desk; `caching` is what LangChain offers for caching outside of `create_agent`."""
    speak = model.bind(**caching) if caching else model
    tools = refund_tools(database)
    refunder = model.bind_tools(tools, **(caching or {}))

    def planner(state: Desk) -> dict[str, Any]:
        answer = speak.invoke([SystemMessage(PLANNER), HumanMessage(state["ticket"])])
        plan = json.loads(answer.text)
        return {"orders": plan["orders"], "refund": plan["refund"]}

    def each_order(state: Desk) -> list[Send]:
        return [Send("check_order", {"ticket": state["ticket"], "order": order}) for order in state["orders"]]

    def check_order(state: Check) -> dict[str, Any]:
        record = database.rows("SELECT * FROM orders WHERE id = ?", state["order"])
        question = f"{state['ticket']}\n\nOrder {state['order']}: {json.dumps(record)}"
        return {"findings": [speak.invoke([SystemMessage(CHECKER), HumanMessage(question)]).text]}

    def brief(state: Desk) -> dict[str, Any]:
        return {"messages": [HumanMessage(f"{state['ticket']}\n\nFindings:\n" + "\n".join(sorted(state["findings"])))]}

    def after_orders(state: Desk) -> str:
        return "refunds_agent" if state["refund"] else "writer"

    def refunds_agent(state: Desk) -> dict[str, Any]:
        history = state.get("refund_messages") or [
            HumanMessage(f"{state['ticket']}\n\nOrders desk: {state['messages'][-1].text}")
        ]
        answer = refunder.invoke([SystemMessage(REFUNDS), *history])
        return {"refund_messages": [*history, answer]}

    def after_refunds(state: Desk) -> str:
        return "refunds_tools" if getattr(state["refund_messages"][-1], "tool_calls", None) else "writer"

    def writer(state: Desk) -> dict[str, Any]:
        reports = [state["messages"][-1].text, *(message.text for message in state.get("refund_messages", [])[-1:])]
        question = f"{state['ticket']}\n\nDone:\n" + "\n".join(reports)
        return {"reply": speak.invoke([SystemMessage(WRITER), HumanMessage(question)]).text}

    graph = StateGraph(Desk)
    graph.add_node("planner", planner)
    graph.add_node("check_order", check_order, input_schema=Check)
    graph.add_node("brief", brief)
    graph.add_node(
        "orders_desk",
        create_agent(model, order_tools(database), system_prompt=ORDERS, middleware=middleware, name="orders_desk"),
    )
    graph.add_node("refunds_agent", refunds_agent)
    graph.add_node("refunds_tools", ToolNode(tools, messages_key="refund_messages"))
    graph.add_node("writer", writer)
    graph.add_edge(START, "planner")
    graph.add_conditional_edges("planner", each_order, ["check_order"])
    graph.add_edge("check_order", "brief")
    graph.add_edge("brief", "orders_desk")
    graph.add_conditional_edges("orders_desk", after_orders, ["refunds_agent", "writer"])
    graph.add_conditional_edges("refunds_agent", after_refunds, ["refunds_tools", "writer"])
    graph.add_edge("refunds_tools", "refunds_agent")
    graph.add_edge("writer", END)
    return graph.compile(name="support_desk")
