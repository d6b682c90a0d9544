"""OpenAI: chat completions."""

from governor_sandbox.openai.dialect import OpenAI

__all__ = ["OpenAI"]
