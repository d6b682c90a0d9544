"""Every format is read to the same run, and whatever else a file holds is an error that names its place."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from langchain_core.load import dumpd
from langchain_core.messages import AIMessage, messages_to_dict

from governor.replay import Recorded, Replay, TraceError, read
from governor.replay.details import moment
from tests.replay.traces import calls, langchain, lines, openai, policy, written

FORMS: dict[str, Callable[[], list[Any]]] = {
    "OpenAI, one message a line": openai,
    "OpenAI, one run a line": lambda: [{"messages": openai()}],
    "OpenAI, a list a line": lambda: [openai()],
    "LangChain, messages_to_dict": lambda: list(messages_to_dict(langchain())),
    "LangChain, model_dump": lambda: [message.model_dump() for message in langchain()],
    "LangChain, dumpd": lambda: [dumpd(message) for message in langchain()],
    "LangChain, one run a line": lambda: [{"messages": messages_to_dict(langchain())}],
}


def said(run: Recorded) -> list[tuple[str, Any, str | None]]:
    return [(call.use.name, call.use.args, call.result) for turn in run.turns for call in turn.calls]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_holds_the_same_calls_with_their_results(form: str, tmp_path: Path) -> None:
    found = read(written(tmp_path, FORMS[form]()))

    assert () == found.errors
    (run,) = found.runs
    assert calls() == said(run)
    assert "Shipped on Monday." == run.turns[-1].message.text
    assert ["system", "user"] == [event.role for event in run.events[:2]]  # type: ignore[union-attr]


@pytest.mark.parametrize("form", FORMS)
def test_packing_a_file_changes_nothing(form: str, tmp_path: Path) -> None:
    packed = tmp_path / "any name"
    packed.write_bytes(gzip.compress(lines(FORMS[form]())))

    (run,) = read(packed).runs
    assert calls() == said(run)


def test_a_whole_document_over_several_lines_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "thread.json"
    path.write_text(json.dumps({"id": "t7", "messages": openai()}, indent=2))

    (run,) = read(path).runs
    assert ("t7", calls()) == (run.name, said(run))


def test_one_file_holds_many_runs_apart_by_id_by_line_or_by_an_empty_line(tmp_path: Path) -> None:
    mixed = [
        row
        for pair in zip(openai(1), openai(1), strict=True)
        for row in ({**pair[0], "run_id": "a"}, {**pair[1], "run_id": "b"})
    ]
    path = tmp_path / "many.jsonl"
    path.write_bytes(lines(mixed) + lines(openai(2)) + b"\n" + lines(openai(3)) + lines([{"messages": openai(4)}]))

    found = read(path)

    assert [4, 4, 5, 6, 7] == [len(said(run)) for run in found.runs]
    assert ["a", "b"] == [run.name for run in found.runs[:2]]


def test_usage_model_and_time_are_taken_from_where_each_client_writes_them(tmp_path: Path) -> None:
    usage = {
        "prompt_tokens": 120,
        "completion_tokens": 30,
        "total_tokens": 150,
        "prompt_tokens_details": {"cached_tokens": 100},
        "completion_tokens_details": {"reasoning_tokens": 10},
    }
    row = {
        "role": "assistant",
        "content": "hi",
        "usage": usage,
        "model": "gpt-4o",
        "created_at": "2026-01-01T00:00:10Z",
    }
    theirs = AIMessage(
        "hi",
        usage_metadata={
            "input_tokens": 120,
            "output_tokens": 30,
            "total_tokens": 150,
            "input_token_details": {"cache_read": 100},
        },
        response_metadata={"model_name": "claude-sonnet-4-5", "model_provider": "anthropic"},
    )

    first, second = read(written(tmp_path, [[row], [theirs.model_dump()]])).runs

    (one,), (two,) = first.turns, second.turns
    assert one.usage is not None
    assert (20, 100, 30, 10) == (one.usage.input, one.usage.cache_read, one.usage.output, one.usage.reasoning)
    assert ("openai:gpt-4o", 1_767_225_610_000) == (str(one.model), one.at_ms)
    assert two.usage is not None
    assert (20, 100, 30) == (two.usage.input, two.usage.cache_read, two.usage.output)
    assert ("anthropic:claude-sonnet-4-5", None) == (str(two.model), two.at_ms)


def test_a_bad_line_is_named_and_nothing_else_is_lost(tmp_path: Path) -> None:
    rows = lines(openai()).splitlines(keepends=True)
    bad = [
        b'{"role": "assistant", \n',
        b"[1, 2]\n",
        b'{"role": "wizard", "content": ""}\n',
        b'{"a": 1}\n',
        b"\xff\xfe\n",
        b"7\n",
    ]
    path = tmp_path / "t.jsonl"
    path.write_bytes(b"".join([*rows[:4], *bad, *rows[4:]]))

    found = read(path)

    whole = next(run for run in found.runs if run.turns)
    assert calls() == said(whole)
    assert [5, 6, 6, 7, 8, 9, 10] == [error.line for error in found.errors]
    assert {str(path)} == {error.file for error in found.errors}
    assert all(error.remedy and error.message for error in found.errors)
    assert "t.jsonl:7: message" in str(found.errors[3])
    assert "'wizard'" in found.errors[3].message


@pytest.mark.parametrize(
    "content",
    [b"", gzip.compress(b"x" * 9_000, mtime=0)[:20], b"SQLite format 3\0" + b"x" * 200],
    ids=["empty", "cut off", "no database"],
)
def test_a_file_that_is_no_trace_says_so(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    try:
        errors: tuple[TraceError, ...] = read(path).errors
    except TraceError as error:
        errors = (error,)

    assert [(str(path), None)] == [(error.file, error.line) for error in errors]
    assert errors[0].remedy


def test_results_without_ids_go_to_calls_in_order_and_strays_are_remarked(tmp_path: Path) -> None:
    asked = {"role": "assistant", "tool_calls": [{"name": "a", "args": {}}, {"name": "b", "args": {}}]}
    told = [{"role": "tool", "content": text} for text in ("one", "two", "three")]

    (run,) = read(written(tmp_path, [asked, *told])).runs

    assert [("a", {}, "one"), ("b", {}, "two")] == said(run)
    assert "1 tool result" in run.remarks[0]


def test_arguments_that_do_not_parse_are_kept_as_they_stand(tmp_path: Path) -> None:
    asked = {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "a", "arguments": '{"x": '}}]}

    (run,) = read(written(tmp_path, [asked])).runs

    assert ("a", {"_raw": '{"x": '}, None) == said(run)[0]
    assert run.turns[0].invalid


@pytest.mark.parametrize(
    "value", [True, "soon", None, float("nan"), float("inf"), -1, 10**30, [], "9999-12-31T23:59:59.999999-23:59"]
)
def test_what_is_no_moment_is_none(value: object) -> None:
    assert moment(value) is None


# --- whatever a file holds

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)
KEYS = (
    *(
        "role",
        "type",
        "data",
        "content",
        "tool_calls",
        "name",
        "args",
        "id",
        "function",
        "arguments",
        "tool_call_id",
        "usage",
    ),
    *(
        "usage_metadata",
        "response_metadata",
        "model",
        "messages",
        "tools",
        "system",
        "timestamp",
        "lc",
        "kwargs",
        "run_id",
        "scopes",
    ),
)
named = st.sampled_from(KEYS)
likely = st.sampled_from(
    ["assistant", "ai", "tool", "human", "user", "system", "constructor", "function", "{}", '{"a": 1}', "text", 10**400]
)
rows = st.recursive(
    anything | likely,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(named, inner, max_size=7),
    max_leaves=24,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(found=st.lists(rows | st.dictionaries(named, rows, min_size=2, max_size=8), max_size=5))
@example(found=[{"role": [], "messages": [], "content": [], "system": [{"type": []}]}])
def test_no_json_whatsoever_raises_anything_but_the_documented_error(found: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "fuzz.jsonl"
    path.write_bytes(lines(found))

    try:
        traces = read(path)
    except TraceError:
        return
    replay = Replay(policy())
    for run in traces.runs:
        json.dumps(replay.judge(run).document())
    assert traces.runs or traces.errors


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(raw=st.binary(max_size=200))
def test_no_bytes_whatsoever_raise_anything_but_the_documented_error(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "fuzz"
    for each in (raw, b"\x1f\x8b" + raw, b"SQLite format 3\0" + raw, gzip.compress(raw)):
        path.write_bytes(each)
        try:
            traces = read(path)
        except TraceError:
            continue
        assert traces.runs or traces.errors
