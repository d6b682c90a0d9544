"""A sentence encoder of a few nodes, written as an ONNX file by hand: each word has a vector, and a text is the mean of its words'.

An ONNX file is one protobuf message. Writing the handful of fields that these graphs need takes no library, and shows which they are.
"""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers

WORDS = ("[UNK]", "sum", "prove", "list", "refund", "plan", "format", "count", "why")
DIM = 4
INT64, FLOAT, INT32 = 7, 1, 6


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def block(field: int, content: bytes | str) -> bytes:
    data = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(data)) + data


def value(name: str, kind: int, dims: Sequence[str | int]) -> bytes:
    """A ValueInfoProto: what goes in or comes out."""
    shape = b"".join(
        block(1, number(1, dim) if isinstance(dim, int) else block(2, dim)) for dim in dims
    )  # a size, or its name
    return block(1, name) + block(2, block(1, number(1, kind) + block(2, shape)))


def floats(name: str, dims: Sequence[int], numbers: Sequence[float]) -> bytes:
    """A TensorProto."""
    raw = struct.pack(f"<{len(numbers)}f", *numbers)
    return b"".join(number(1, dim) for dim in dims) + number(2, FLOAT) + block(8, name) + block(9, raw)


def integers(name: str, numbers: Sequence[int]) -> bytes:
    return (
        number(1, len(numbers))
        + number(2, INT64)
        + block(8, name)
        + block(9, struct.pack(f"<{len(numbers)}q", *numbers))
    )


def node(kind: str, inputs: Sequence[str], output: str, attributes: Mapping[str, int] | None = None) -> bytes:
    """A NodeProto."""
    made = b"".join(block(1, name) for name in inputs) + block(2, output) + block(4, kind)
    for name, setting in (attributes or {}).items():
        made += block(5, block(1, name) + number(3, setting) + number(20, 2))
    return made


def model(
    *,
    inputs: Mapping[str, int] | None = None,
    pooled: str | None = None,
    output: str = "last_hidden_state",
    vectors: Sequence[Sequence[float]] | None = None,
) -> bytes:
    """The whole file. `inputs`: name to type. `pooled`: the model itself takes the mean, as an output of this name."""
    fed = {"input_ids": INT64, "attention_mask": INT64} if inputs is None else inputs
    table = vectors or [[1.0 if place == at % DIM else 0.1 * at for place in range(DIM)] for at in range(len(WORDS))]
    flat = [each for row in table for each in row]
    states = output if pooled is None else "states"
    nodes = [node("Gather", ["words", "input_ids"], states)]
    answer = value(output, FLOAT, ["batch", "sequence", DIM])
    initial = [floats("words", [len(table), DIM], flat)]
    if pooled is not None:
        initial.append(integers("axes", [1]))
        nodes.append(node("ReduceMean", ["states", "axes"], pooled, {"keepdims": 0}))
        answer = value(pooled, FLOAT, ["batch", DIM])
    graph = b"".join(block(1, each) for each in nodes) + block(2, "tiny")
    graph += b"".join(block(5, each) for each in initial)
    graph += b"".join(block(11, value(name, kind, ["batch", "sequence"])) for name, kind in fed.items())
    graph += block(12, answer)
    return number(1, 8) + block(7, graph) + block(8, block(1, "") + number(2, 18))


def tokenizer() -> str:
    """A tokenizer.json of whole words."""
    made = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made.to_str()


def files(folder: Path, content: bytes | None = None) -> tuple[Path, Path]:
    """Both files in a folder."""
    made, words = folder / "model.onnx", folder / "tokenizer.json"
    made.write_bytes(model() if content is None else content)
    words.write_text(tokenizer(), encoding="utf-8")
    return made, words
