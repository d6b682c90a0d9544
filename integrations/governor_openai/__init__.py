"""OpenAI's Chat Completions and Responses APIs for governor: models, cache markers, output limits, errors.

The package is a `governor_langgraph.vendors.Vendor`.
"""

from __future__ import annotations

from importlib import import_module

try:
    import_module("langchain_openai")
except ImportError as error:
    message = "governor_openai needs langchain-openai: pip install 'langgraph-governor[openai]'"
    raise ImportError(message) from error

from governor_openai.errors import classify, finish
from governor_openai.hosted import hosted_uses, with_hosted_uses
from governor_openai.models import (
    FAMILY,
    PROVIDERS,
    build,
    hosted,
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
from governor_openai.prompt import mark, strip_foreign

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
