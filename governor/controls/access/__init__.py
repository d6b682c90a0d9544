"""Access control: which node may call which tool, with which arguments, after what."""

from governor.controls.access.control import Access

__all__ = ["Access"]
