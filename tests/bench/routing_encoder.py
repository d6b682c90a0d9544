"""The semantic encoder, measured: how long a decision takes, and what its estimates are worth on recorded outcomes.

    python -m tests.bench.routing_encoder --json figures.json
    python -m tests.bench.routing_encoder --model model.onnx --tokenizer tokenizer.json --corpus DIR

Without a model the tests' tiny one is timed: that is what governor adds around a real one. Times are wall-clock, of one thread; beside
them the CPU time, which other work on the machine disturbs less. APGR is by the protocol of routing's benchmarks: five folds, learned on
four, scored on the fifth. `--limit N` takes the first N training ids of each fold and N/4 of its test ids; an embedding is made once.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from governor.routing.embedding import Embedded, Method, text_of
from governor.routing.encoded import Encoded, learned
from governor.routing.estimate import StepFeatures
from governor.routing.metrics import Graded, curve
from governor_encoder import OnnxEncoder, assigned, load_encoder, searching
from tests.encoder import tiny

SIZES = (50, 500, 2_000)
REPEATS = 100
FOLDS = 5
CHARS = 6_000
METHODS: tuple[Method, ...] = ("clusters", "failures", "knn", "mean")
FILES = ("routellm_mmlu", "routellm_gsm8k")
WORDS = "the tool returned a list of open refunds for this customer and the plan has to say why one was denied "
Row = dict[str, Any]


def timed(work: Callable[[str], object], text: str, repeats: int) -> dict[str, float]:
    """Milliseconds of one call: best, median and 99th percentile by the wall clock, and the median of CPU time."""
    work(text)
    wall, cpu = [], []
    for _ in range(repeats):
        begun, used = time.perf_counter(), time.process_time()
        work(text)
        wall.append((time.perf_counter() - begun) * 1e3)
        cpu.append((time.process_time() - used) * 1e3)
    wall.sort()
    return {
        "best": round(wall[0], 2),
        "p50": round(statistics.median(wall), 2),
        "p99": round(wall[min(len(wall) - 1, len(wall) * 99 // 100)], 2),
        "cpu_p50": round(statistics.median(cpu), 2),
    }


def latency(encoder: OnnxEncoder, repeats: int) -> list[Row]:
    """Embedding alone, and the whole estimate by clusters and by 5,000 neighbours, at each size."""
    rows: list[Row] = []
    vector = encoder.encode("size")
    spread = [[each * (1 + (at * 31 + place) % 7) for place, each in enumerate(vector)] for at in range(5_000)]
    made = learned(
        spread[:640], [(1.0, 0.0)] * 640, model_sha256="", tokenizer_sha256="", max_tokens=encoder.max_tokens, k=64, assign=assigned
    )  # fmt: skip
    many = learned(
        spread, [(1.0, 0.0)] * 5_000, model_sha256="", tokenizer_sha256="", max_tokens=encoder.max_tokens, k=1,
        neighbours=True, assign=assigned,
    )  # fmt: skip
    assert many.points is not None
    near = Embedded(many, Fixed(encoder, vector), "knn", searching(many.points))

    def embedded(text: str) -> object:
        return encoder.encode(text_of(step(text)))  # as a decision does it: no more than is read of a delta

    for size in SIZES:
        words = WORDS.split()
        text = " ".join(words[at % len(words)] for at in range(size))
        rows.append({"what": "embedding", "tokens": size} | timed(embedded, text, repeats))
    by_cluster, number = Embedded(made, Fixed(encoder, vector)), iter(range(10**9))
    for name, estimator in (("64 clusters alone", by_cluster), ("5,000 neighbours alone", near)):
        spent = timed(lambda text, of=estimator: of.estimate(step(f"{text} {next(number)}")), "text", repeats)
        rows.append({"what": name, "tokens": 0} | spent)
    return rows


class Fixed:
    """An encoder that has its answer already: what is timed is the rest."""

    def __init__(self, encoder: OnnxEncoder, vector: Sequence[float]) -> None:
        self.model_sha256, self.tokenizer_sha256 = encoder.model_sha256, encoder.tokenizer_sha256
        self.max_tokens = encoder.max_tokens
        self._vector = vector

    def encode(self, text: str) -> Sequence[float]:
        return self._vector


class Known:
    """An encoder that has embedded its texts before."""

    def __init__(self, encoder: OnnxEncoder) -> None:
        self.model_sha256, self.tokenizer_sha256 = encoder.model_sha256, encoder.tokenizer_sha256
        self.max_tokens = encoder.max_tokens
        self._encoder = encoder
        self._known: dict[str, Sequence[float]] = {}

    def encode(self, text: str) -> Sequence[float]:
        if text not in self._known:
            self._known[text] = self._encoder.encode(text)
        return self._known[text]


def step(delta: str, node: str = "agent") -> StepFeatures:
    return StepFeatures(node=node, path=node, delta=delta)


def fold_of(name: str) -> int:
    return int(sha256(f"governor-bench-1|{name}".encode()).hexdigest(), 16) % FOLDS


def records(path: Path) -> list[Row]:
    """Prompt records of one corpus file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    return sorted(found, key=lambda row: sha256(f"order|{row['id']}".encode()).hexdigest())


def apgr(encoder: Known, rows: list[Row], limit: int | None) -> list[Row]:
    """APGR of each method over the folds, mean and standard deviation."""
    scored: dict[str, list[float]] = {method: [] for method in METHODS}
    for fold in range(FOLDS):
        train = [row for row in rows if fold_of(row["id"]) != fold][:limit]
        test = [row for row in rows if fold_of(row["id"]) == fold][: None if limit is None else max(1, limit // 4)]
        section = fitted(encoder, train)
        graded = [Graded(id=row["id"], strong=row["strong"]["score"], weak=row["weak"]["score"]) for row in test]
        search = searching(section.points) if section.points is not None else None
        for method in METHODS:
            estimator = Embedded(section, encoder, method, search)
            gains = [told.gain if (told := estimator.estimate(asked(row))) else 0.0 for row in test]
            scored[method].append(curve(graded, gains).apgr)
    return [
        {"method": method, "apgr": round(statistics.mean(found), 3), "sd": round(statistics.stdev(found), 3)}
        for method, found in scored.items()
    ]


def asked(row: Row) -> StepFeatures:
    return step(str(row["prompt"])[:CHARS], "")


def fitted(encoder: Known, rows: list[Row]) -> Encoded:
    return learned(
        [encoder.encode(text_of(asked(row))) for row in rows],
        [(row["strong"]["score"], row["weak"]["score"]) for row in rows],
        model_sha256=encoder.model_sha256,
        tokenizer_sha256=encoder.tokenizer_sha256,
        max_tokens=encoder.max_tokens,
        neighbours=True,
        assign=assigned,
    )


def shown(title: str, rows: list[Row]) -> None:
    print(f"\n{title}")
    names = list(rows[0])
    print("  ".join(f"{name:>22}" if at == 0 else f"{name:>8}" for at, name in enumerate(names)))
    for row in rows:
        print("  ".join(f"{row[name]!s:>22}" if at == 0 else f"{row[name]!s:>8}" for at, name in enumerate(names)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="an ONNX sentence encoder; absent, the tests' tiny one")
    parser.add_argument("--tokenizer", type=Path, help="its tokenizer.json")
    parser.add_argument("--corpus", type=Path, help="folder of recorded outcomes (routellm_*.jsonl.gz)")
    parser.add_argument("--limit", type=int, help="training records a fold; absent, all")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    args = parser.parse_args()
    if (args.model is None) != (args.tokenizer is None):
        parser.error("--model and --tokenizer go together")
    with tempfile.TemporaryDirectory() as folder:
        files = (args.model, args.tokenizer) if args.model else tiny.files(Path(folder))
        begun = time.perf_counter()
        encoder = load_encoder(*files)
        loaded = round((time.perf_counter() - begun) * 1e3)
    figures: Row = {"model": str(args.model.name) if args.model else "tiny (tests)", "load_ms": loaded, "apgr": {}}
    figures["latency_ms"] = latency(encoder, args.repeats)
    print(f"model: {figures['model']}, loaded in {loaded} ms, cut at {encoder.max_tokens} tokens, 1 thread")
    shown("milliseconds a decision", figures["latency_ms"])
    if args.corpus and args.model:
        known = Known(encoder)
        for name in FILES:
            rows = records(args.corpus / f"{name}.jsonl.gz")
            figures["apgr"][name] = apgr(known, rows, args.limit)
            shown(
                f"APGR on {name} ({len(rows)} records, {args.limit or 'all'} learned from a fold)",
                figures["apgr"][name],
            )
    elif args.corpus:
        print("\nAPGR needs a real model: --model and --tokenizer.")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
