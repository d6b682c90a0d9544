"""The encoder reads any local sentence model, says what is wrong with a file, and never reaches for the network."""

import math
import threading
from pathlib import Path

import numpy as np
import pytest

from governor.errors import ConfigurationError
from governor_encoder import load_encoder
from tests.encoder import tiny


@pytest.mark.parametrize(
    "content",
    [
        tiny.model(),
        tiny.model(output="token_embeddings"),
        tiny.model(output="any name"),
        tiny.model(pooled="sentence_embedding"),
        tiny.model(pooled="pooled by another name"),
        tiny.model(inputs={"input_ids": tiny.INT32}),
        tiny.model(inputs={"token_type_ids": tiny.INT64, "input_ids": tiny.INT64, "position_ids": tiny.INT64}),
    ],
    ids=[
        "states",
        "named states",
        "unnamed states",
        "pooled",
        "pooled, unnamed",
        "32 bits, no mask",
        "types, positions",
    ],
)
def test_whatever_a_model_is_fed_and_answers_its_vector_is_the_mean_of_its_tokens(
    tmp_path: Path, content: bytes
) -> None:
    encoder = load_encoder(*tiny.files(tmp_path, content))

    found = encoder.encode("sum list sum")

    mean = np.mean([[1.0 if place == at % 4 else 0.1 * at for place in range(4)] for at in (1, 3, 1)], axis=0)
    assert found == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)
    assert math.isclose(1, math.hypot(*found), abs_tol=1e-6)


def test_the_first_state_is_read_where_the_model_was_trained_so(tmp_path: Path) -> None:
    encoder = load_encoder(*tiny.files(tmp_path), pooling="cls")

    assert encoder.encode("sum list plan") == encoder.encode("sum why why why")


def test_a_long_text_is_cut_and_an_empty_or_broken_one_is_a_vector_too(tmp_path: Path) -> None:
    encoder = load_encoder(*tiny.files(tmp_path), max_tokens=16)

    assert encoder.encode("sum " * 16) == encoder.encode("sum " * 16 + "prove " * 5_000)
    assert all(map(math.isfinite, encoder.encode("lone \ud800 surrogate")))


def test_many_threads_get_the_vectors_that_one_gets(tmp_path: Path) -> None:
    encoder = load_encoder(*tiny.files(tmp_path))
    texts = [f"{one} {other} {one}" for one in tiny.WORDS[1:] for other in tiny.WORDS[1:]]
    alone = [encoder.encode(text) for text in texts]
    together: dict[int, list[object]] = {}

    def work(number: int) -> None:
        together[number] = [encoder.encode(text) for text in texts]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [alone] * 4 == [together[number] for number in range(4)]


def test_a_file_that_is_not_there_is_an_error_with_its_remedy(tmp_path: Path) -> None:
    model, tokenizer = tiny.files(tmp_path)

    with pytest.raises(ConfigurationError, match=r"settings\.model: there is no file .*missing.*hashed"):
        load_encoder(tmp_path / "missing.onnx", tokenizer)
    with pytest.raises(ConfigurationError, match=r"settings\.tokenizer: there is no file"):
        load_encoder(model, tmp_path / "missing.json")


def test_a_file_that_is_something_else_is_named(tmp_path: Path) -> None:
    model, tokenizer = tiny.files(tmp_path)

    with pytest.raises(ConfigurationError, match=r"tokenizer\.json is no ONNX model"):
        load_encoder(tokenizer, tokenizer)
    tokenizer.write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"tokenizer\.json is no tokenizer\.json"):
        load_encoder(model, tokenizer)


def test_a_model_that_wants_something_else_says_what(tmp_path: Path) -> None:
    files = tiny.files(tmp_path, tiny.model(inputs={"input_ids": tiny.INT64, "pixel_values": tiny.FLOAT}))

    with pytest.raises(ConfigurationError, match=r"wants pixel_values \(tensor\(float\)\)"):
        load_encoder(*files)


def test_a_tokenizer_of_another_model_is_found_out_when_it_is_opened(tmp_path: Path) -> None:
    few = tiny.files(tmp_path, tiny.model(vectors=[[1.0] * 4]))
    words = few[1].read_text(encoding="utf-8").replace('"[UNK]": 0', '"[UNK]": 5').replace('"[UNK]":0', '"[UNK]":5')
    few[1].write_text(words, encoding="utf-8")

    with pytest.raises(ConfigurationError, match="Name the tokenizer that belongs to the model"):
        load_encoder(*few)


def test_the_two_digests_are_those_of_the_files(tmp_path: Path) -> None:
    import hashlib

    model, tokenizer = tiny.files(tmp_path)

    encoder = load_encoder(model, tokenizer)

    assert hashlib.sha256(model.read_bytes()).hexdigest() == encoder.model_sha256
    assert hashlib.sha256(tokenizer.read_bytes()).hexdigest() == encoder.tokenizer_sha256
