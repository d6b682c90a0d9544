"""Access control: which node may run, and which tool it may call, with which arguments, after what."""

from governor.controls.access.control import Access
from governor.controls.access.nodes import NodeAccess

__all__ = ["Access", "NodeAccess"]
