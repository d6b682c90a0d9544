"""Where a policy says that progress is told, and what a graph's state says there."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from pydantic import BaseModel, ValidationError

from governor.policy.schema import Policy
from governor.progress import Progress


class Report(BaseModel):
    pages: int = 3


@dataclass
class Plain:
    done: int


@pytest.mark.parametrize(
    ("text", "state", "value"),
    [
        ("state.done", {"done": 4}, 4),
        ("state.done", Plain(done=2), 2),
        ("state.report.pages", {"report": Report()}, 3),
        ("len(state.answers)", {"answers": ["a", "b"]}, 2),
        ("len( state.answers )", {"answers": {}}, 0),
        ("state.stage", {"stage": "review"}, "review"),
        ("state.ready", {"ready": True}, True),
        ("state.missing", {"done": 4}, None),
        ("state.done.more", {"done": 4}, None),
        ("len(state.done)", {"done": 4}, None),
        ("state.done", {"done": [1]}, None),
        ("state.done", None, None),
    ],
)
def test_the_value_is_read_where_the_graph_has_it(text: str, state: object, value: object) -> None:
    progress = Progress.parse(text)

    assert progress is not None
    assert value == progress.of(state)


@pytest.mark.parametrize(
    "text", ["done", "state", "state.", "len(done)", "len(state.done", "state.a+1", "__import__('os')", "state.1a"]
)
def test_anything_else_is_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(ValidationError, match="names no value of the graph's state"):
        Policy.model_validate({"governor": 1, "name": "t", "loops": {"progress": text}})
