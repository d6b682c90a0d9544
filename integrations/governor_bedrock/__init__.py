"""Amazon Bedrock's Converse API for governor: models, cache markers, output limits, errors.

The package is a `governor_langgraph.vendors.Vendor`.
"""

from __future__ import annotations

from importlib import import_module

try:
    import_module("langchain_aws")
except ImportError as error:
    message = "governor_bedrock needs langchain-aws: pip install 'langgraph-governor[bedrock]'"
    raise ImportError(message) from error

from governor_bedrock.errors import classify, finish
from governor_bedrock.hosted import hosted, hosted_uses, with_hosted_uses
from governor_bedrock.models import (
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
from governor_bedrock.prompt import mark, strip_foreign

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
