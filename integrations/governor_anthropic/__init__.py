"""Anthropic's Messages API for governor: models, cache markers, output limits, errors.

The package is a `governor_langgraph.vendors.Vendor`.
"""

from __future__ import annotations

from importlib import import_module

try:
    import_module("langchain_anthropic")
except ImportError as error:
    message = "governor_anthropic needs langchain-anthropic: pip install 'langgraph-governor[anthropic]'"
    raise ImportError(message) from error

from governor_anthropic.errors import classify, finish
from governor_anthropic.hosted import hosted, hosted_uses, with_hosted_uses
from governor_anthropic.models import (
    FAMILY,
    PROVIDERS,
    build,
    is_mine,
    limited,
    max_output,
    model_ref,
    price_percent,
    single_attempt,
    takes_limit,
    with_max_output,
    writes_openly,
)
from governor_anthropic.prompt import mark, strip_foreign

__all__ = [
    "FAMILY",
    "PROVIDERS",
    "build",
    "classify",
    "finish",
    "hosted",
    "hosted_uses",
    "is_mine",
    "limited",
    "mark",
    "max_output",
    "model_ref",
    "price_percent",
    "single_attempt",
    "strip_foreign",
    "takes_limit",
    "with_hosted_uses",
    "with_max_output",
    "writes_openly",
]
