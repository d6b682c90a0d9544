"""The one place that touches private names of LangGraph and LangChain, each behind a small function that says why.

Public ways are used everywhere else. What is here has none, so a release may move it: `tests/langgraph/test_internals.py` holds each
function to the installed versions and says in a sentence what changed.
"""

from __future__ import annotations

from langchain_core.language_models.chat_model_stream import ChatModelStream

__all__ = ["share_generation_info"]


def share_generation_info(reader: ChatModelStream, own: ChatModelStream) -> None:
    """Let two accumulators of one streamed answer share what the provider's stream says about it, which has no setter.

    Releases before 1.7.1 do not keep any.
    """
    info = getattr(reader, "_generation_info", None)
    if info is not None:
        own._generation_info = info  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - see above
