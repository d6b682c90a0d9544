"""Ids are drawn cheaply and are given once all the same."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from governor import ids
from governor.ids import Ids


def drawn(source: Ids, number: int) -> list[str]:
    return [source() for _ in range(number)]


def test_threads_that_share_a_source_never_get_the_same_id() -> None:
    source = Ids()

    with ThreadPoolExecutor(4) as pool:
        batches = list(pool.map(drawn, [source] * 4, [2_000] * 4))

    assert 8_000 == len({each for batch in batches for each in batch})


def test_an_id_has_the_form_of_langgraphs_own() -> None:
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in drawn(Ids(), 100))


def test_two_sources_share_no_id() -> None:
    assert not {*drawn(Ids(), 1_000)} & {*drawn(Ids(), 1_000)}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only POSIX forks")
def test_a_fork_gives_ids_of_its_own_even_if_the_clock_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids.time, "time_ns", lambda: 1)
    source = Ids()
    source()
    reading, writing = os.pipe()

    child = os.fork()
    if child == 0:
        os.write(writing, " ".join(drawn(source, 50)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 65_536).decode().split()
    os.close(reading)
    os.close(writing)

    assert 50 == len(theirs)
    assert not {*theirs} & {*drawn(source, 50)}


def test_a_process_restored_twice_from_one_snapshot_differs_in_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids.os, "urandom", bytes)
    first, second = Ids(), Ids()  # the same random part and the same count, as after a restoration
    moments = count(1)
    monkeypatch.setattr(ids.time, "time_ns", lambda: next(moments))

    assert not {*drawn(first, 50)} & {*drawn(second, 50)}
