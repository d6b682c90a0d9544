"""What a snapshot has learned of answers is heard after the call, from its file to the decision."""

from __future__ import annotations

from pathlib import Path

import pytest

from governor.calls import ModelRef, ModelRequest, ModelResponse, View
from governor.errors import PolicyError
from governor.policy.load import load
from governor.routing.snapshot import write_snapshot
from governor.runs import RunState
from governor.runtime import Runtime
from tests.controls.histories import model_call, user
from tests.routing.test_loading import POLICY, snapshot
from tests.routing.test_posthoc import RIGHT, WRONG, learned

HEARD = POLICY + "  escalate: {after: low_score}\n"
NOVA = ModelRef(provider="bedrock_converse", model="amazon.nova-pro-v1:0")


def placed(folder: Path, **sections: object) -> Path:
    (folder / "learned").mkdir()
    write_snapshot(folder / "learned" / "routing.json", snapshot(**sections))
    path = folder / "policy.yaml"
    path.write_text(HEARD, encoding="utf-8")
    return path


@pytest.mark.parametrize(("text", "signal"), [(WRONG, "low_score"), (RIGHT, None)])
def test_an_answer_that_was_learned_to_be_wrong_is_asked_of_the_better_tier(
    tmp_path: Path, text: str, signal: str | None
) -> None:
    route = Runtime(load(placed(tmp_path, posthoc=learned().dump()))).controls.route
    call = model_call([user("How many are 12 and 30?")], NOVA)
    request = ModelRequest(call=call, tier="student", model=NOVA, view=View(history=call.history), base="student")

    judged = route.judge(RunState(model_calls=1), request, ModelResponse(text=text, finish="stop"))

    assert signal == judged.signal
    assert ("frontier" if signal else None) == (judged.again.tier if judged.again else None)


def test_a_section_that_cannot_be_read_is_an_error_of_the_policy(tmp_path: Path) -> None:
    broken = {**learned().dump(), "version": 99}

    with pytest.raises(PolicyError, match="version 99 is not known"):
        Runtime(load(placed(tmp_path, posthoc=broken)))
