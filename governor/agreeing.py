"""Judging an answer, and asking the same tier again to see whether it agrees with itself: a sub-flow of the path.

Each further answer is a call of its own: reserved, settled and traced beside the one under way. It never takes what that one has left to
pay for a better tier's answer refused: whatever keeps it from being made, no room in a budget or a failing provider, leaves the comparison
with the answers that there are.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from governor.beside import Came, asked_beside, held_beside, without_what_is_left_out
from governor.decisions import Decision
from governor.effects import Calibration, Sample, ask
from governor.meter import Meter
from governor.reserving import lease_key

if TYPE_CHECKING:
    from governor.calls import ModelRequest, ModelResponse
    from governor.controls import Controls
    from governor.effects import Flow
    from governor.plans import Judgement, Quote, Routed
    from governor.runs import RunState

__all__ = ["judge", "normalised"]

_NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?")
_WORDS = re.compile(r"\w+")


def judge(
    answered: tuple[Quote, ModelResponse],
    routed: Routed,
    state: RunState,
    controls: Controls,
    *,
    attempt: int,
    now: int,
) -> Flow[tuple[Judgement, BaseException | None]]:
    """What an answer was worth: by the gates, and where the policy asks for it by whether the same tier says the same again.

    And what broke the comparison off from outside (a cancellation), to be raised once the answer, which is paid for, is recorded. A run
    that has to stop is stopped at its next call.
    """
    quote, response = answered
    call, request = quote.request.call, quote.request
    failed = controls.loop.fails_again(state, call, response) if response.tool_uses else None
    judged = controls.route.judge(state, request, response, routed, failed=failed)
    wanted = controls.route.samples(state, request, routed, judged)
    if not wanted or response.cached:
        return judged, None
    first, agreed, made = normalised(response), 1, 1
    for number in range(wanted):
        key = f"{lease_key(call.step, state, attempt)}.sample{number + 1}"
        try:
            other = yield from _sampled(request, routed, state, controls, key=key, now=now)
        except Exception:  # noqa: BLE001 - the run has its answer: a lost store or a halt is told at its next call
            break
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001 - raised by who records the answer
            return judged, error
        if other is None:
            break
        made += 1
        agreed += normalised(other) == first
    if made == 1 or controls.route.agree(agreed, made):
        return judged, None
    return controls.route.disagreed(state, request, routed, agreed, made), None


def _sampled(
    request: ModelRequest, routed: Routed, state: RunState, controls: Controls, *, key: str, now: int
) -> Flow[ModelResponse | None]:
    """One further answer, held, paid for and recorded; None where there is none to be had. Nothing waits and nothing is refused."""
    step = request.call.step
    ratio = yield from ask(Calibration(request.model))
    quote = controls.budget.quote(request, routed, ratio, now)
    if isinstance(quote, Decision):
        return None
    quote = controls.budget.with_grants(quote, state.grants)
    if controls.ladder.keeps:
        quote = controls.budget.keeping(quote, controls.ladder.final_output)
    quote, escrow = controls.shares.added(quote, step, state, now), controls.shares.escrow(step, state)
    lease = yield from held_beside(key, quote, escrow, controls, now)
    if isinstance(lease, str):
        return None
    sampled = Sample(quote.request, Meter())
    came = yield from asked_beside(
        sampled, (quote, lease), routed, controls, now, purpose="sample", told=without_what_is_left_out
    )
    return came.response if isinstance(came, Came) else None


def normalised(response: ModelResponse) -> str:
    """What an answer comes to, to compare it with others.

    Its tool calls; else JSON with its keys in order; else its last number; else its words, without case and punctuation.

    The last number is what self-consistency votes on in the literature: the way there is said differently each time.
    """
    if response.tool_uses:
        calls = sorted(f"{use.name} {_canonical(use.args)}" for use in response.tool_uses)
        return "\n".join(calls)
    text = response.text.strip()
    try:
        return _canonical(json.loads(text))
    except (ValueError, RecursionError):
        pass
    numbers = _NUMBER.findall(text)
    if numbers:
        plain = str(numbers[-1]).replace(",", "").lstrip("+")
        return plain.rstrip("0").rstrip(".") if "." in plain else plain
    return " ".join(_WORDS.findall(text.casefold()))


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str, separators=(",", ":"))
