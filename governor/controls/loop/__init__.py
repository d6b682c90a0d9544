"""Loop detection: repetition that gives nothing new is answered before it costs more."""

from governor.controls.loop.chant import Chant
from governor.controls.loop.control import Loop

__all__ = ["Chant", "Loop"]
