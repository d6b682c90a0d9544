"""Counting tokens for the benchmark: OpenAI's o200k_base where its file is at hand, else a plain rule that the output names.

Nothing of governor is used: what is measured must not be what measures. Nothing is downloaded while measuring: the file is looked for in
`TIKTOKEN_CACHE_DIR`, in `.venv-tokens` (`make bench-context` puts it there) and in packages that carry it.
"""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

__all__ = ["Count", "counter"]

Count = Callable[[str], int]

_O200K = "fb374d419588a4632f3f557e76b4b70aebbca790"
"""Name of the file in tiktoken's cache: the SHA-1 of its address."""
_CARRIERS = ("llama_index/core/_static/tiktoken_cache", "litellm/litellm_core_utils/tokenizers")
_PIECE = re.compile(r"[^\W\d_]+|\d{1,3}|[^\w\s]+|\s*\n|\s+|_")
_LETTERS = 5.5
"""Letters of a word that one token holds, when there is no tokenizer: long words are split, short ones are not."""


def counter() -> tuple[str, Count]:
    """The name of the tokenizer and the function that counts."""
    folder = next(filter(_holds, _places()), None)
    if folder is None:
        return "a rule of thumb (no o200k_base file: figures differ by some percent)", _by_rule
    os.environ["TIKTOKEN_CACHE_DIR"] = str(folder)
    import tiktoken  # after the variable is set

    encode = tiktoken.get_encoding("o200k_base").encode_ordinary
    return "o200k_base", lru_cache(maxsize=None)(lambda text: len(encode(text)))


def _holds(folder: Path) -> bool:
    return (folder / _O200K).is_file()


def _places() -> Iterator[Path]:
    if named := os.environ.get("TIKTOKEN_CACHE_DIR"):
        yield Path(named)
    for root in (Path(".venv-tokens"), *map(Path, sys.path)):
        yield from (root / carrier for carrier in _CARRIERS)


def _by_rule(text: str) -> int:
    return sum(math.ceil(len(piece) / _LETTERS) if piece[0].isalpha() else 1 for piece in _PIECE.findall(text))
