"""The benchmark pays for the recall tool as it is really offered."""

from langchain_core.utils.function_calling import convert_to_openai_tool

from governor_langgraph.recall import recall_tool
from tests.bench.context.ours import RECALL


def test_the_benchmark_charges_the_recall_tool_as_models_are_told_of_it() -> None:
    assert RECALL == convert_to_openai_tool(recall_tool)
