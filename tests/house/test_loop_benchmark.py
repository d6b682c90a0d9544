"""The loop detector sees the fields of a step and nothing else: no id, no source, no label, no file name."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import governor.controls.loop
from governor.calls import ToolCall, ToolResult
from tests.bench.loops.corpus import Run, Step

FOLDER = Path(governor.controls.loop.__file__).parent
SOURCES = (
    "hotpot",
    "magentic",
    "whowhen",
    "miniswe",
    "mini-swe",
    "sola_",
    "repairagent",
    "autocoderover",
    "openhands",
    "tau_",
)


def test_a_step_of_a_corpus_holds_what_a_run_knows_of_its_own_steps() -> None:
    assert {field.name for field in fields(Step)} == {
        *("i", "agent", "kind", "name", "args", "text", "result", "err", "user_after", "par", "ns")
    }
    assert {"source", "cls", "loop", "onset", "group"} <= {field.name for field in fields(Run)}


def test_the_detector_is_given_calls_and_results_alone() -> None:
    assert {field.name for field in fields(ToolCall)} == {"step", "name", "args", "id", "known", "read_only"}
    assert {field.name for field in fields(ToolResult)} == {"text", "failed", "synthetic", "source"}


def test_no_corpus_is_known_to_the_detector() -> None:
    for file in FOLDER.glob("*.py"):
        code = re.sub(r'"""[\s\S]*?"""|#.*', "", file.read_text()).lower()  # what is said about it in words is no rule
        assert not [name for name in SOURCES if name in code], file.name


def test_the_detector_reads_no_file_and_no_clock() -> None:
    for file in FOLDER.glob("*.py"):
        assert not re.search(
            r"^\s*(?:import|from) (?:os|io|pathlib|time|datetime|random|socket)\b", file.read_text(), re.MULTILINE
        )
