"""`estimator: encoder` of a policy: the files it names, the snapshot's section, and whether the two belong together."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from governor.errors import ConfigurationError
from governor.routing.embedding import Embedded
from governor.routing.encoded import read_section
from governor_encoder.onnx import load_encoder
from governor_encoder.vectors import searching

if TYPE_CHECKING:
    from governor.routing.embedding import Method
    from governor.routing.estimators import Asked
    from governor_encoder.onnx import OnnxEncoder, Pooling

__all__ = ["opened"]


def opened(asked: Asked) -> Embedded | None:
    """The estimator; None, with a warning, where the snapshot has nothing for these files.

    Raises ConfigurationError for files that are not there or are no encoder, RoutingError for a section that cannot be read.
    """
    section = asked.section("encoder")
    if section is None:
        asked.warn("the promoted snapshot has no `encoder` section: train one with the encoder's files")
        return None
    encoded = read_section(section)
    settings = asked.settings
    encoder = load_encoder(
        asked.file("model"),
        asked.file("tokenizer"),
        threads=int(str(settings.get("threads", 1))),
        max_tokens=int(str(settings.get("max_tokens", 256))),
        pooling=cast("Pooling", settings.get("pooling", "mean")),
    )
    learned_with = (encoded.model_sha256, encoded.tokenizer_sha256, encoded.max_tokens)
    if learned_with != (encoder.model_sha256, encoder.tokenizer_sha256, encoder.max_tokens):
        asked.warn(
            f"the snapshot was learned with {_shown(*learned_with)}, the policy names "
            f"{_shown(encoder.model_sha256, encoder.tokenizer_sha256, encoder.max_tokens)}: these are two spaces, so the encoder is off"
        )
        return None
    if (has := len(encoder.encode("dimensions"))) != encoded.dim:
        asked.warn(f"the snapshot has vectors of {encoded.dim} dimensions, the model of {has}: the encoder is off")
        return None
    return _estimator(asked, encoded_with=encoder)


def _estimator(asked: Asked, *, encoded_with: OnnxEncoder) -> Embedded:
    encoded = read_section(asked.section("encoder") or {})
    search = searching(encoded.points) if encoded.points is not None else None
    method = cast("Method", asked.settings.get("method", "clusters"))
    try:
        return Embedded(encoded, encoded_with, method, search)
    except ValueError as error:
        raise ConfigurationError(
            f"routing.estimator.settings.method: {error}. Train it with neighbours, or use `clusters`."
        ) from error


def _shown(model: str, tokenizer: str, max_tokens: int) -> str:
    return f"model {model[:12]}, tokenizer {tokenizer[:12]} and {max_tokens} tokens"
