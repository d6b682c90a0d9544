"""A sentence encoder from two local files: an ONNX model and its `tokenizer.json`.

What the model is fed is read from the model itself. It may answer with one vector a text, or with the states of the tokens: their mean
over the text's own tokens is taken, or the first state where its authors trained that one (`pooling: cls`).
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import onnxruntime
import tokenizers

from governor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["MAX_TOKENS", "OnnxEncoder", "Pooling", "load_encoder"]

MAX_TOKENS = 256
"""Where a text is cut: what MiniLM was trained on. 512 take three times as long and say no more (design notes, "Latency")."""

Pooling = Literal["mean", "cls"]

_FED = frozenset({"input_ids", "attention_mask", "token_type_ids", "position_ids"})
_POOLED = ("sentence_embedding", "sentence_embeddings", "embedding", "embeddings")
"""What exports call an output that is one vector a text. A `pooler_output` is none: it was trained for another task."""
_STATES = ("last_hidden_state", "token_embeddings", "hidden_states")
_ORT: Any = onnxruntime
_WORDS: Any = tokenizers
"""Neither library tells its types: `_Session` and `_Tokenizer` are what is used of them."""
_TYPES: Mapping[str, Any] = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}


class _Port(Protocol):
    """An input or output of a model."""

    name: str
    type: str
    shape: Sequence[object] | None


class _Session(Protocol):
    def get_inputs(self) -> Sequence[_Port]: ...

    def get_outputs(self) -> Sequence[_Port]: ...

    def run(self, outputs: Sequence[str], feed: Mapping[str, Any]) -> Sequence[Any]: ...


class _Encoding(Protocol):
    ids: Sequence[int]
    attention_mask: Sequence[int]
    type_ids: Sequence[int]


class _Tokenizer(Protocol):
    def encode(self, text: str) -> _Encoding: ...

    def enable_truncation(self, max_length: int) -> None: ...

    def no_padding(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxEncoder:
    """An open model. Safe for threads: a session may run, and a tokenizer encode, in several at once."""

    session: _Session
    tokenizer: _Tokenizer
    fed: tuple[tuple[str, Any], ...]
    """Name and type of each input."""
    output: str
    pooling: Pooling
    max_tokens: int
    model_sha256: str
    tokenizer_sha256: str

    def encode(self, text: str) -> Sequence[float]:
        """The text's vector, of length 1."""
        return self.vector(text).tolist()

    def vector(self, text: str) -> np.ndarray[Any, np.dtype[np.float32]]:
        """The same as an array."""
        encoding = self.tokenizer.encode(_encodable(text))
        made = {
            "input_ids": encoding.ids,
            "attention_mask": encoding.attention_mask,
            "token_type_ids": encoding.type_ids,
            "position_ids": range(len(encoding.ids)),
        }
        feed = {name: np.array([made[name]], dtype=kind) for name, kind in self.fed}
        found = np.asarray(self.session.run([self.output], feed)[0], dtype=np.float32)[0]
        if found.ndim == 2:
            found = self._pooled(found, np.array(encoding.attention_mask, dtype=np.float32))
        length = float(np.linalg.norm(found))
        return found / length if length > 0 else found

    def _pooled(self, states: Any, mask: Any) -> Any:
        if self.pooling == "cls":
            return states[0]
        return (states * mask[:, None]).sum(axis=0) / max(float(mask.sum()), 1.0)


def load_encoder(
    model: str | Path,
    tokenizer: str | Path,
    *,
    threads: int = 1,
    max_tokens: int = MAX_TOKENS,
    pooling: Pooling = "mean",
) -> OnnxEncoder:
    """Open both files and try them out. Raises ConfigurationError that names the file and what to do."""
    model, tokenizer = _there(model, "model"), _there(tokenizer, "tokenizer")
    session, words = _session(model, threads), _tokenizer(tokenizer, max_tokens)
    encoder = OnnxEncoder(
        session=session,
        tokenizer=words,
        fed=_fed(session, model),
        output=_output(session, model),
        pooling=pooling,
        max_tokens=max_tokens,
        model_sha256=_digest(model),
        tokenizer_sha256=_digest(tokenizer),
    )
    _tried(encoder, model, tokenizer)
    return encoder


def _there(path: str | Path, what: str) -> Path:
    found = Path(path)
    if not found.is_file():
        raise ConfigurationError(
            f"routing.estimator.settings.{what}: there is no file {found}. Put the {what} of a sentence encoder there "
            "(an ONNX export and its tokenizer.json; governor downloads nothing), or choose `estimator: hashed`."
        )
    return found


def _session(model: Path, threads: int) -> _Session:
    options = _ORT.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads would burn the other cores
    try:
        return _ORT.InferenceSession(model.read_bytes(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ConfigurationError(f"{model} is no ONNX model that onnxruntime can open: {_short(error)}") from error


def _tokenizer(tokenizer: Path, max_tokens: int) -> _Tokenizer:
    try:
        words: _Tokenizer = _WORDS.Tokenizer.from_str(tokenizer.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises no narrower type
        raise ConfigurationError(f"{tokenizer} is no tokenizer.json: {_short(error)}") from error
    words.enable_truncation(max_tokens)
    words.no_padding()
    return words


def _fed(session: _Session, model: Path) -> tuple[tuple[str, Any], ...]:
    inputs = session.get_inputs()
    unknown = [f"{each.name} ({each.type})" for each in inputs if each.name not in _FED or each.type not in _TYPES]
    if unknown or not any(each.name == "input_ids" for each in inputs):
        raise ConfigurationError(
            f"{model} wants {', '.join(unknown) or 'no input_ids'}: governor feeds {', '.join(sorted(_FED))} as integers. "
            "Export the model as a feature extractor for text."
        )
    return tuple((each.name, _TYPES[each.type]) for each in inputs)


def _output(session: _Session, model: Path) -> str:
    """The output to read: one vector a text by its usual names, else token states, else whatever has two or three dimensions."""
    ranks: dict[str, int] = {each.name: len(each.shape or ()) for each in session.get_outputs()}
    for name in (*_POOLED, *_STATES):
        if name in ranks:
            return name
    found = next((name for rank in (3, 2) for name, has in ranks.items() if has == rank), None)
    if found is None:
        raise ConfigurationError(f"{model} answers {', '.join(ranks) or 'nothing'}: neither token states nor vectors")
    return found


def _tried(encoder: OnnxEncoder, model: Path, tokenizer: Path) -> None:
    """Hold the two files to each other: a text as long as allowed must come out as one vector."""
    try:
        found = encoder.vector("governor " * encoder.max_tokens)
    except Exception as error:
        raise ConfigurationError(
            f"{model} cannot read what {tokenizer} makes of {encoder.max_tokens} tokens: {_short(error)}. "
            "Name the tokenizer that belongs to the model, or lower `max_tokens`."
        ) from error
    if found.ndim != 1 or not bool(np.isfinite(found).all()):
        raise ConfigurationError(f"{model} answers an array of shape {found.shape} where one finite vector is meant")


def _encodable(text: str) -> str:
    """The text without lone surrogates, which the tokenizer refuses."""
    return text.encode("utf-8", "replace").decode()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _short(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
