"""The semantic encoder of routing: any local ONNX sentence model with its `tokenizer.json`. Nothing is ever downloaded.

    routing:
      estimator:
        kind: encoder
        settings: {model: models/minilm/model.onnx, tokenizer: models/minilm/tokenizer.json}

`opened` is the entry point that the policy's `kind: encoder` finds; `learned_section` makes the part of a snapshot that it needs.
"""

from __future__ import annotations

from importlib.util import find_spec

if _missing := [name for name in ("onnxruntime", "tokenizers") if find_spec(name) is None]:
    message = f"governor_encoder needs {' and '.join(_missing)}: pip install 'langgraph-governor[encoder]'"
    raise ImportError(message)

from governor_encoder.learning import learned_section
from governor_encoder.onnx import OnnxEncoder, load_encoder
from governor_encoder.opening import opened
from governor_encoder.vectors import assigned, searching

__all__ = ["OnnxEncoder", "assigned", "learned_section", "load_encoder", "opened", "searching"]
