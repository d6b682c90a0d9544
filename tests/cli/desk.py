"""A folder as a user has one: an app with graphs in it, and policies beside it."""

from __future__ import annotations

from textwrap import dedent

APP = """\
from langgraph.graph import START, StateGraph

from tests.langgraph import graphs
from tests.langgraph.fakes import Streaming, once, times

model = Streaming(rule=once("search", {"q": "boots"}))
graph = graphs.agent(model)
endless = graphs.agent(Streaming(rule=times("search", 50, lambda n: {"q": f"boots {n}"})))
waiting = graph
later = graphs.async_node(Streaming(rule=lambda messages: "later"))
number = 7


def build():
    return graphs.function_node(Streaming(rule=lambda messages: "built"))


async def abuild():
    return build()


def build_for(tenant):
    return graph


def build_nothing():
    return None


def build_badly():
    raise RuntimeError("no database")


def fails(state):
    raise KeyError("order")


broken = StateGraph(dict)
broken.add_node("fails", fails)
broken.add_edge(START, "fails")


def openai():
    from langchain_core.language_models import BaseChatModel

    return graphs.function_node(Streaming(rule=lambda messages: "unused"))
"""

OPEN = """\
governor: 1
name: open
tools: {default: allow}
"""
"""Loads, and lets everything through."""

TIERED = """\
governor: 1
name: tiered
tiers:
  best: {model: "openai:gpt-4o"}
routing: {default: best}
"""


def policy(body: str) -> str:
    """A policy with these parts."""
    return "governor: 1\nname: p\n" + dedent(body)
