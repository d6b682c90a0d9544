"""The `governor` command: prints and exit codes only; the logic is in the packages it calls.

Exit codes: 0 ok, 1 violations (findings of severity error, a run that the policy refused or stopped), 2 usage or load error.
"""

from __future__ import annotations

from governor.cli.app import main

__all__ = ["main"]
