"""Anthropic's own API: Messages and token counts."""

from governor_sandbox.anthropic.dialect import Anthropic

__all__ = ["Anthropic"]
