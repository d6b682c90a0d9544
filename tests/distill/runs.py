"""Recorded runs to distil, written as lines and read back as `governor replay` reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from governor.calls import ModelRef
from governor.distill import Chosen, Export, exported
from governor.policy.load import load
from governor.prices import PriceBook
from governor.replay import Recorded, read

TEACHER, STUDENT = "openai:gpt-4o", "openai:gpt-4o-mini"
TOOL = {
    "type": "function",
    "function": {
        "name": "status",
        "description": "Reads an order.",
        "parameters": {"type": "object", "properties": {"order": {"type": "integer"}}},
    },
}


def asked(order: int, *, model: str = TEACHER, node: str = "worker", call: str = "c1") -> dict[str, Any]:
    """An answer that calls a tool."""
    function = {"name": "status", "arguments": json.dumps({"order": order})}
    return {
        "role": "assistant",
        "name": node,
        "model": model,
        "content": "",
        "tool_calls": [{"id": call, "type": "function", "function": function}],
        "usage": {"prompt_tokens": 1_000, "completion_tokens": 20, "total_tokens": 1_020},
    }


def said(text: str, *, model: str = TEACHER, node: str = "worker", **more: Any) -> dict[str, Any]:
    """An answer in words."""
    usage = {"prompt_tokens": 2_000, "completion_tokens": 50, "total_tokens": 2_050}
    return {"role": "assistant", "name": node, "model": model, "content": text, "usage": usage, **more}


def run(name: str, order: int = 7, **more: Any) -> dict[str, Any]:
    """A run of two model calls with a tool call between them."""
    messages = [
        {"role": "system", "content": "You are a desk."},
        {"role": "user", "content": f"Where is order {order} of ann{order}@mail.example?"},
        asked(order, call=f"x{name}"),
        {"role": "tool", "tool_call_id": f"x{name}", "content": f"order {order} was shipped on day {order * 31}"},
        said(f"Order {order} left on day {order * 31}."),
    ]
    return {"id": name, "messages": messages, "tools": [TOOL], "reward": 1, **more}


def recorded(folder: Path, *rows: Any, name: str = "runs.jsonl") -> tuple[Recorded, ...]:
    """The rows as a file, read back."""
    path = folder / name
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    found = read(path)
    assert () == found.errors
    return found.runs


def distilled(folder: Path, *rows: Any, **chosen: Any) -> Export:
    """What is exported of the rows; nothing is held back unless a test says so."""
    book = PriceBook(load({"governor": 1, "name": "t", "tools": {"default": "allow"}}).policy)
    chosen = {"eval_share": 0.0, "student": ModelRef(provider="openai", model="gpt-4o-mini"), **chosen}
    return exported(recorded(folder, *rows), Chosen(**chosen), book)


def lines(found: Export, form: str, split: str = "train", node: str | None = None) -> list[dict[str, Any]]:
    """The lines of a format, read back."""
    return [
        json.loads(line)
        for file in found.files
        if (file.form, file.split) == (form, split) and node in (None, file.node)
        for line in file.lines
    ]


def reasons(found: Export, form: str | None = None) -> list[tuple[str, tuple[int, ...], str]]:
    """Run, steps and reason of each rejection."""
    return [(each.run, each.steps, each.reason) for each in found.rejected if form is None or each.form == form]
