"""Kinds of loops and of legitimate repetition, as users report them: each a generator of steps from a source of randomness.

None of them is taken from a corpus. A step is `(tool, args, result)`; a tool of None is an answer in words, `(None, {}, text)`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from random import Random

__all__ = ["LEGITIMATE", "LOOPS", "Kind", "Step"]

Step = tuple[str | None, dict[str, object], str]
Kind = Callable[[Random], Iterator[Step]]

_NOUN_LIST = """
invoice river ledger garden tunnel harbor window planet market engine letter bridge forest camera signal packet tenant branch
mirror kernel module report column vector matrix socket thread widget parcel voyage rocket island valley ticket
"""
_VERB_LIST = "opens closes moves holds breaks keeps finds loses turns writes reads sends takes gives makes drops"
_NOUNS, _VERBS = _NOUN_LIST.split(), _VERB_LIST.split()


def sentence(random: Random) -> str:
    """A sentence that is unlikely to have been said before."""
    words = [random.choice(_NOUNS), random.choice(_VERBS), *random.choices(_NOUNS, k=4), str(random.randrange(10_000))]
    return " ".join(words).capitalize() + "."


def page(random: Random, lines: int = 12) -> str:
    """A result with content of its own."""
    return "\n".join(sentence(random) for _ in range(lines))


def lead(random: Random) -> Iterator[Step]:
    """Some ordinary work first."""
    for _ in range(random.randrange(2, 8)):
        noun = random.choice(_NOUNS)
        yield "read_file", {"path": f"src/{noun}_{random.randrange(10_000)}.py"}, page(random)


# --- loops


def _create_delete(random: Random) -> Iterator[Step]:
    """Creates what is there, removes it, creates it again; every id is fresh."""
    while True:
        yield "create_file", {"path": "run.py", "text": page(random)}, "Error: file exists already: run.py"
        yield "delete_file", {"path": "run.py"}, "Deleted."


def _toggle(random: Random) -> Iterator[Step]:
    """Switches a setting on and off."""
    name = random.choice(_NOUNS)
    for value in itertools.cycle(("on", "off")):
        yield "set_option", {"name": name, "value": value}, f"{name} is now {value}"


def _same_error_other_tools(random: Random) -> Iterator[Step]:
    """Every tool fails in the same way: the login has expired."""
    while True:
        tool = random.choice(("list_orders", "get_user", "search", "export"))
        yield tool, {"q": sentence(random)}, "Error 401: the session has expired. Log in again."


def _lookup_of_nothing(random: Random) -> Iterator[Step]:
    """Ids that do not exist, one after the other."""
    while True:
        order = random.randrange(10**6)
        yield "get_order", {"id": f"W{order}"}, f'{{"error": "order W{order} not found"}}'


def _reworded_search(random: Random) -> Iterator[Step]:
    """The same search in other words, with the same results in another order."""
    found = [sentence(random) for _ in range(8)]
    subject = random.sample(_NOUNS, 4)
    while True:
        random.shuffle(found)
        random.shuffle(subject)
        yield (
            "web_search",
            {"query": " ".join((*subject, random.choice(("", "latest", "2025", "official"))))},
            "\n".join(found),
        )


def _search_open_back(random: Random) -> Iterator[Step]:
    """Search, open the first hit, go back; pages carry the time."""
    results, opened = page(random), page(random)
    query: dict[str, object] = {"query": " ".join(random.sample(_NOUNS, 3))}
    for n in itertools.count():
        clock = f"\nServed 2026-03-01T10:{n % 60:02d}:07Z"
        yield "web_search", query, results + clock
        yield "open_page", {"url": "https://example.com/a"}, opened + clock
        yield "go_back", {}, results + clock


def _wrapped_pages(random: Random) -> Iterator[Step]:
    """Pages whose cursor wraps around: the last page leads to the first."""
    pages = [page(random) for _ in range(5)]
    for n in itertools.count():
        yield "next_page", {"cursor": f"c{n}"}, pages[n % len(pages)]


def _retry_with_longer_timeout(random: Random) -> Iterator[Step]:
    """A command that never ends, given more and more time."""
    command = f"pytest tests/{random.choice(_NOUNS)}"
    for n in itertools.count(1):
        yield "bash", {"command": command, "timeout": 30 * n}, f"Error: timed out after {30 * n} seconds"


def _failing_patch(random: Random) -> Iterator[Step]:
    """Patches that never apply."""
    while True:
        yield (
            "apply_patch",
            {"file": "m.py", "hunk": " ".join(random.sample(_NOUNS, 6))},
            "error: patch failed: hunk does not apply",
        )


def _thinking_in_circles(random: Random) -> Iterator[Step]:
    """A scratch pad that takes the same thought again and again."""
    thought = random.sample(_NOUNS, 6)
    while True:
        random.shuffle(thought)
        yield "think", {"thought": f"I should check the {' and the '.join(thought)} first"}, ""


def _rewritten_plan(random: Random) -> Iterator[Step]:
    """The plan is written again, in another order, and nothing of it is done."""
    steps = [" ".join(random.sample(_NOUNS, 3)) for _ in range(5)]
    while True:
        random.shuffle(steps)
        yield None, {}, "Here is my plan: " + "; ".join(steps) + "."


def _promises(random: Random) -> Iterator[Step]:
    """Announces what it is about to do, and does not."""
    subject = " ".join(random.sample(_NOUNS, 3))
    while True:
        opening = random.choice(("I will now", "Next I will", "Let me", "I am going to"))
        yield (
            None,
            {},
            f"{opening} {random.choice(('check', 'look at', 'review'))} the {subject} and {random.choice(('report', 'tell you'))}.",
        )


def _handed_around(random: Random) -> Iterator[Step]:
    """Three agents hand a task on to each other."""
    subject = " ".join(random.sample(_NOUNS, 3))
    while True:
        for agent in ("writer", "reviewer", "planner"):
            yield (
                f"transfer_to_{agent}",
                {"task": f"Please take care of the {subject} {random.choice(('now', 'today', 'soon'))}"},
                "Transferred.",
            )


def _subagent_again(random: Random) -> Iterator[Step]:
    """The same job for a subagent, worded anew, with reports that say what was said."""
    subject = " ".join(random.sample(_NOUNS, 4))
    report = page(random, 6)
    while True:
        verb = random.choice(("Research", "Investigate", "Look into", "Study"))
        yield "task", {"subagent_type": "researcher", "description": f"{verb} the {subject} and report"}, report


def _long_cycle(random: Random) -> Iterator[Step]:
    """Twelve calls in the same order for ever."""
    cycle: list[Step] = [("read_file", {"path": f"src/{noun}.py"}, page(random)) for noun in random.sample(_NOUNS, 12)]
    yield from itertools.cycle(cycle)


def _empty_lists(random: Random) -> Iterator[Step]:
    """Filters that leave nothing, in ever new combinations."""
    while True:
        yield (
            "list_items",
            {"filter": {random.choice(_NOUNS): random.choice(_NOUNS)}, "limit": random.randrange(100)},
            "[]",
        )


LOOPS: dict[str, Kind] = {
    kind.__name__[1:]: kind
    for kind in (
        _create_delete,
        _toggle,
        _same_error_other_tools,
        _lookup_of_nothing,
        _reworded_search,
        _search_open_back,
        _wrapped_pages,
        _retry_with_longer_timeout,
        _failing_patch,
        _thinking_in_circles,
        _rewritten_plan,
        _promises,
        _handed_around,
        _subagent_again,
        _long_cycle,
        _empty_lists,
    )
}


# --- legitimate repetition


def _tail_of_a_log(random: Random) -> Iterator[Step]:
    """The end of a log, which grows."""
    lines = [sentence(random) for _ in range(30)]
    for _ in range(25):
        lines += [sentence(random) for _ in range(random.randrange(1, 4))]
        yield "bash", {"command": "tail -n 30 server.log"}, "\n".join(lines[-30:])


def _ticking_status(random: Random) -> Iterator[Step]:
    """A job whose progress moves."""
    for percent in range(0, 100, 3):
        yield "job_status", {"id": "j-1"}, f'{{"id": "j-1", "state": "RUNNING", "percent": {percent}}}'
    yield "job_status", {"id": "j-1"}, '{"id": "j-1", "state": "SUCCEEDED", "percent": 100}'


def _not_ready_yet(random: Random) -> Iterator[Step]:
    """An export that says that it is not ready, twenty times."""
    for _ in range(20):
        yield "get_export", {"id": 7}, "The export is not ready yet."
    yield "get_export", {"id": 7}, page(random)


def _bulk_delete(random: Random) -> Iterator[Step]:
    """Thirty things deleted, each acknowledged alike."""
    for n in range(30):
        yield "delete_record", {"id": f"rec-{n}"}, "Deleted."


def _silent_commands(random: Random) -> Iterator[Step]:
    """Commands that say nothing when all is well."""
    for noun in random.sample(_NOUNS, 20):
        yield "bash", {"command": f"mkdir -p out/{noun}"}, ""


def _lint_each_file(random: Random) -> Iterator[Step]:
    """A check of each file, which finds nothing wrong."""
    for noun in random.sample(_NOUNS, 20):
        yield "lint", {"path": f"src/{noun}.py"}, "No issues found."


def _pages_of_a_table(random: Random) -> Iterator[Step]:
    """Pages with the same head and new rows, asked for by the same call."""
    for _ in range(25):
        yield "next_page", {}, "id | name | state\n" + page(random, 8)


def _sweep(random: Random) -> Iterator[Step]:
    """One experiment for each value of a parameter."""
    for n in range(20):
        yield "run_trial", {"rate": n / 100}, f"loss {random.random():.4f}, accuracy {random.random():.4f}"


def _edit_and_test(random: Random) -> Iterator[Step]:
    """Edits, and a test after each, which fails until the last."""
    for n in range(10):
        yield "edit_file", {"path": "m.py", "new": sentence(random)}, "The file was edited."
        yield "bash", {"command": "pytest -q"}, f"FAILED test_a - {sentence(random)}\n{9 - n} failed"
    yield "bash", {"command": "pytest -q"}, "12 passed"


def _edit_and_same_failure(random: Random) -> Iterator[Step]:
    """Four edits that do not change what the test says, and a fifth that does."""
    failure = "FAILED test_total - assert 3 == 4\n" + page(random, 10)
    for _ in range(4):
        yield "edit_file", {"path": "m.py", "new": sentence(random)}, "The file was edited."
        yield "bash", {"command": "pytest -q"}, failure
    yield "edit_file", {"path": "m.py", "new": sentence(random)}, "The file was edited."
    yield "bash", {"command": "pytest -q"}, "12 passed"


def _overloaded_then_fine(random: Random) -> Iterator[Step]:
    """A service that is overloaded three times, then answers."""
    for _ in range(3):
        yield "http_get", {"url": "https://api.example.com/v1"}, "Error: 503 Service Unavailable"
    yield "http_get", {"url": "https://api.example.com/v1"}, page(random)


def _typos_then_right(random: Random) -> Iterator[Step]:
    """Two wrong names, then the right one."""
    yield "read_file", {"path": "src/mian.py"}, "Error: no such file: src/mian.py"
    yield "list_files", {"path": "src"}, "main.py\nutil.py"
    yield "read_file", {"path": "src/main.py"}, page(random)


def _chapters(random: Random) -> Iterator[Step]:
    """A supervisor that gives out one chapter after the other."""
    for n, noun in enumerate(random.sample(_NOUNS, 12), 1):
        yield (
            "transfer_to_writer",
            {"task": f"Write chapter {n} of the book, about the {noun}, in a friendly tone"},
            "Transferred.",
        )
        yield "write_file", {"path": f"chapter{n}.md", "text": page(random)}, "Saved."
        yield "transfer_to_supervisor", {"task": f"Chapter {n} about the {noun} is done"}, "Transferred."


def _reports(random: Random) -> Iterator[Step]:
    """Reports of what has been done, each about something else."""
    for n in range(1, 15):
        yield (
            None,
            {},
            f"Step {n} of 14 is done: the {random.choice(_NOUNS)} {random.choice(_VERBS)}. {sentence(random)}",
        )


def _reading_twice(random: Random) -> Iterator[Step]:
    """Twelve files read, two of them again later."""
    files: list[Step] = [("read_file", {"path": f"src/{noun}.py"}, page(random)) for noun in random.sample(_NOUNS, 12)]
    yield from files
    yield from random.sample(files, 2)
    yield "edit_file", {"path": "src/a.py", "new": sentence(random)}, "The file was edited."
    yield from random.sample(files, 2)


def _todo_list(random: Random) -> Iterator[Step]:
    """A list of things to do of which one more is done each time."""
    things = random.sample(_NOUNS, 10)
    for done in range(10):
        items = [
            {"task": f"look at the {thing}", "status": "done" if n <= done else "open"}
            for n, thing in enumerate(things)
        ]
        yield "write_todos", {"todos": items}, f"Updated the list: {done + 1} done"
        yield "read_file", {"path": f"src/{things[done]}.py"}, page(random)


def _thinking(random: Random) -> Iterator[Step]:
    """A scratch pad that is used for one thought after the other."""
    for _ in range(12):
        yield "think", {"thought": " ".join(sentence(random) for _ in range(3))}, ""


def _builds_between_edits(random: Random) -> Iterator[Step]:
    """A build after each edit, which always succeeds."""
    for n in range(12):
        yield "edit_file", {"path": f"m{n}.py", "new": sentence(random)}, "The file was edited."
        yield "bash", {"command": "make build"}, "ok"


def _same_form_for_others(random: Random) -> Iterator[Step]:
    """A supervisor that fills one form in for one subject after the other."""
    for noun in random.sample(_NOUNS, 12):
        task = f"Write a short and friendly summary of what the quarterly report says about the {noun} for the board"
        yield "transfer_to_writer", {"task": task}, "Transferred."
        yield None, {}, f"Summary for the board. {page(random, 3)}"


LEGITIMATE: dict[str, Kind] = {
    kind.__name__[1:]: kind
    for kind in (
        _tail_of_a_log,
        _ticking_status,
        _not_ready_yet,
        _bulk_delete,
        _silent_commands,
        _lint_each_file,
        _pages_of_a_table,
        _sweep,
        _edit_and_test,
        _edit_and_same_failure,
        _overloaded_then_fine,
        _typos_then_right,
        _chapters,
        _reports,
        _reading_twice,
        _todo_list,
        _thinking,
        _builds_between_edits,
        _same_form_for_others,
    )
}
