"""What the encoder learns of paired outcomes: the `encoder` section of a snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.errors import RoutingError
from governor.routing.embedding import text_of
from governor.routing.encoded import learned, section_of
from governor_encoder.vectors import assigned

if TYPE_CHECKING:
    from collections.abc import Iterable

    from governor.routing.embedding import Encoder
    from governor.routing.records import PairedOutcome

__all__ = ["learned_section"]


def learned_section(
    records: Iterable[PairedOutcome], encoder: Encoder, *, k: int | None = None, neighbours: bool = False
) -> dict[str, object]:
    """The section, as JSON values. The same records and files make the same bytes, whatever the records' order.

    `k`: clusters; absent, 16, and 64 from 1,000 labels. `neighbours`: keep the embeddings, which `method: knn` and `mean` need; whoever
    has the snapshot can turn them back into much of the text. Raises RoutingError when no record has text.
    """
    told = sorted((each for each in records if each.step.delta.strip()), key=lambda each: each.id)
    if not told:
        raise RoutingError("no record has the text of its step", remedy="Record deltas to learn an encoder's clusters.")
    made = learned(
        [encoder.encode(text_of(each.step)) for each in told],
        [(each.strong.score, each.weak.score) for each in told],
        model_sha256=encoder.model_sha256,
        tokenizer_sha256=encoder.tokenizer_sha256,
        max_tokens=encoder.max_tokens,
        k=k,
        neighbours=neighbours,
        assign=assigned,
    )
    return section_of(made)
