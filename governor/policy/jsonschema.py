"""The policy format as JSON Schema, for editors: completion, hints and red lines while a policy is written.

# yaml-language-server: $schema=schema.json
"""

from __future__ import annotations

from typing import Any

from governor.policy.schema import Policy

__all__ = ["json_schema"]


def json_schema() -> dict[str, Any]:
    """The schema as JSON-ready data. `governor policy check` finds more: references, units, contradictions."""
    schema = Policy.model_json_schema(by_alias=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": "Generated from governor.policy.schema; do not edit.",
    } | schema
