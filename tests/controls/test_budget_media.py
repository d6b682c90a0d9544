"""What pictures and recordings add to a quote."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.calls import ModelRef, ModelRequest, View
from governor.ledger import Unit
from governor.media import Media
from governor.media_tokens import audio_tokens, media_tokens
from governor.usage import Usage
from tests.controls.test_budget import SONNET, control, quote, request

GEMINI = ModelRef(provider="google_genai", model="gemini-2.5-flash")
RUN_BUDGET = {"id": "b", "scope": "run", "limit": {"usd": 10, "input_tokens": "10M"}}


def showing(*media: Media, model: ModelRef = SONNET, tokens: int = 984) -> ModelRequest:
    """A prompt of `tokens` and 16 of framing, beside what its media count for."""
    plain = request(tokens=tokens + sum(each.counted for each in media), model=model)
    history = plain.call.history
    history = replace(history, messages=[replace(history.messages[0], media=media)])
    return replace(plain, call=replace(plain.call, history=history), view=View(history=history))


PICTURES = st.builds(
    Media,
    kind=st.just("image"),
    counted=st.integers(0, 1_600),
    width=st.integers(1, 4_000),
    height=st.integers(1, 4_000),
)


@given(st.lists(PICTURES, max_size=5), st.sampled_from([800, 1_000, 1_700]))
def test_a_picture_is_held_at_its_bound_whatever_its_message_counts_and_text_at_the_ratio(
    media: list[Media], ratio: int
) -> None:
    held = quote(control(RUN_BUDGET), showing(*media), ratio=ratio)

    assert 1_000 == held.estimated
    assert ratio + media_tokens(SONNET, media) == held.request.input_tokens


@pytest.mark.parametrize(
    "media",
    [
        pytest.param(Media(kind="audio", counted=1_600, ms=60_000), id="recording"),
        pytest.param(Media(kind="audio", counted=1_600), id="elsewhere"),
        pytest.param(Media(kind="video", counted=1_600, ms=60_000), id="video"),
    ],
)
def test_a_recording_is_held_and_settled_at_the_price_of_recordings(media: Media) -> None:
    budget = control(RUN_BUDGET)
    held = quote(budget, showing(media, model=GEMINI), limit=1_000)
    heard = min(audio_tokens([media]), held.media)  # no more than the model's window
    said = Usage(input=1_000 + heard, output=10, audio=heard)
    money = next(at for at, hold in enumerate(held.holds) if hold.unit is Unit.NANO_USD)

    reported, silent = (budget.amounts(held, each)[money] for each in (said, replace(said, audio=0)))

    assert held.rates is not None
    text = replace(held.rates, heard=0).cost(replace(said, audio=0))
    assert reported == silent == text + heard * 700  # nano-USD: $1 a million tokens heard, $0.30 read
    assert reported <= held.holds[money].amount


def test_where_recordings_cost_what_text_does_nothing_is_added() -> None:
    held = quote(control(RUN_BUDGET), showing(Media(kind="audio", counted=1_600, ms=60_000)))

    assert held.rates is not None
    assert 0 == held.rates.heard
