"""The benchmark of routing measures what it says it does, on made-up outcomes."""

from __future__ import annotations

import gzip
import json
import random
import sys
from pathlib import Path

import pytest

from governor.routing.guard import Promise
from tests.bench.routing import __main__ as command
from tests.bench.routing import measured
from tests.bench.routing.corpus import FILES, Corpus, fold, missing, read
from tests.bench.routing.methods import METHODS
from tests.routing.pairs import outcomes


def corpus(count: int = 150) -> Corpus:
    return Corpus("made-up", tuple(outcomes(count)), priced=True)


def test_a_folder_without_the_files_is_skipped_and_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "--corpus", str(tmp_path)])
    with pytest.raises(SystemExit) as caught:
        command.main()

    assert "skipped" in str(caught.value)
    assert all(name in str(caught.value) for name in missing(tmp_path))
    assert len(FILES) == len(missing(tmp_path))


def test_a_prompt_record_becomes_a_paired_outcome(tmp_path: Path) -> None:
    row = {
        "id": "mtbench/1",
        "prompt": "Write.",
        "meta": {"domain": "writing"},
        "strong": {"model": "large", "score": 9.5, "cost": None},
        "weak": {"model": "small", "score": 8.0, "cost": None},
    }
    with gzip.open(tmp_path / "routellm_mtbench.jsonl.gz", "wt") as file:
        file.write(json.dumps(row))
    made = read(tmp_path, "routellm_mtbench")
    (record,) = made.records

    assert (0.95, 0.8, None) == (record.strong.score, record.weak.score, record.weak.cost)
    assert ("writing", "Write.") == (record.step.path, record.step.delta)
    assert not made.priced
    assert not made.answered


def test_every_record_is_scored_once_and_never_by_what_learned_of_it() -> None:
    known = corpus()
    halves = measured.halves(known, 50)

    assert sorted(record.id for record in known.records) == sorted(record.id for _, rest in halves for record in rest)
    for number, (learned, others) in enumerate(halves):
        assert 50 == len(learned)
        assert {number} == {fold(record.id) for record in others}
        assert number not in {fold(record.id) for record in learned}


def test_the_oracle_leads_and_the_default_is_above_chance() -> None:
    methods = {name: METHODS[name] for name in ("random", "default (hashed)", "oracle")}
    found = measured.ranking(corpus(400), None, methods)

    assert found["oracle"]["apgr"] > found["default (hashed)"]["apgr"] > 0.65
    assert 0.3 < found["random"]["apgr"] < 0.7


def test_the_guards_threshold_is_below_the_bare_rates() -> None:
    draw = random.Random(1)
    records = outcomes(600)
    scores = [record.gain + draw.random() for record in records]
    promise = Promise(max_loss=0.03)

    assert measured.by_guard(records, scores, promise) < measured.by_rate(records, scores, promise)
