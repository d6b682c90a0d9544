"""Chat models that put their calls through a policy themselves (`wrap_model`)."""

from __future__ import annotations

__all__ = ["SelfGoverned", "governs_itself"]


class SelfGoverned:
    """Marks a chat model class whose calls the hooks leave to it."""


def governs_itself(model: object) -> bool:
    """Whether a model is one."""
    return isinstance(model, SelfGoverned)
