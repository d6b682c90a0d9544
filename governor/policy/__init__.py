"""The policy: what a security team writes in YAML, read into frozen, exact, checked values.

    from governor.policy import load

    loaded = load("policies/support.yaml")
    loaded.policy     # what is in force, merged with everything it extends
    loaded.hash       # goes into every decision
    loaded.warnings   # what a reviewer should know

One question, one module: `scalars` (amounts), `schema` (what a policy may say), `matchers` (conditions), `document` (YAML with
places), `load`, `merge` (children tighten), `lint`, `explain` (in plain English), `jsonschema` (for editors).
"""

from governor.policy.document import Document
from governor.policy.findings import Finding
from governor.policy.jsonschema import json_schema
from governor.policy.lint import check
from governor.policy.load import Layer, LoadedPolicy, bundled_policies, load, policy_hash
from governor.policy.matchers import MatchError, PastCall, evaluate, matches_glob
from governor.policy.merge import tighten
from governor.policy.schema import Policy

__all__ = [
    "Document",
    "Finding",
    "Layer",
    "LoadedPolicy",
    "MatchError",
    "PastCall",
    "Policy",
    "bundled_policies",
    "check",
    "evaluate",
    "json_schema",
    "load",
    "matches_glob",
    "policy_hash",
    "tighten",
]
