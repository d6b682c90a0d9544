"""What is kept of long tables and code when their middle is left out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.controls.compact.notable import definitions, table_of
from governor.controls.compact.show import shorten
from governor.tokens import estimate

ROWS = [f"{n},customer {n},{n * 7} EUR" for n in range(2_000)]
CSV = "id,name,amount\n" + "\n".join(ROWS)
MARKDOWN = "| id | name |\n|----|------|\n" + "\n".join(f"| {n} | customer {n} |" for n in range(2_000))


def code(names: int) -> str:
    return "\n".join(
        f"def function_{n}(value: int) -> int:\n    total = value + {n}\n    return total * {n}\n" for n in range(names)
    )


@pytest.mark.parametrize("text", [CSV, "Query took 3 ms\n\n" + CSV, CSV.replace(",", "\t"), CSV.replace(",", ";")])
def test_a_table_keeps_its_heading_its_ends_and_says_how_many_rows_are_missing(text: str) -> None:
    shown = shorten(text, 2_000, handle="r-1")

    assert shown is not None
    lines = shown.split("\n")
    separator = next(each for each in ",\t;" if each in lines[-2])
    assert any(line == f"id{separator}name{separator}amount" for line in lines)
    assert f"1999{separator}customer 1999{separator}13993 EUR" in lines
    assert f"0{separator}customer 0{separator}0 EUR" in lines
    assert any("of 2,000 rows left out" in line for line in lines)
    assert 'recall(handle="r-1")' in lines[-1]


def test_a_markdown_table_keeps_its_rule() -> None:
    shown = shorten(MARKDOWN, 2_000, handle=None)

    assert shown is not None
    assert shown.startswith("| id | name |\n|----|------|\n| 0 | customer 0 |")


def test_code_keeps_the_lines_that_define_something() -> None:
    text = code(400)
    shown = shorten(text, 2_000, handle="r-1")

    assert shown is not None
    assert "[definitions among them:]" in shown
    kept = [line for line in shown.split("\n") if line.startswith("def function_")]
    assert len(kept) > 20


def test_numbered_lines_are_code_too() -> None:
    text = "\n".join(f"{n:4}\t{line}" for n, line in enumerate(code(200).split("\n")))

    assert definitions(text, 0, len(text), 1_000)


@pytest.mark.parametrize(
    "text", ["The class of 1999 met.\n" * 500, "one, two\n" * 5, "", "a,b\n" + "no table at all\n" * 40]
)
def test_prose_is_neither(text: str) -> None:
    assert [] == definitions(text, 0, len(text), 1_000)
    assert table_of(text) is None


@given(text=st.text(max_size=4_000), cap=st.integers(100, 3_000))
def test_no_text_breaks_the_cap(text: str, cap: int) -> None:
    long = text * 5
    shown = shorten(long, cap, handle="r-1")

    assert shown is None or estimate(shown) <= max(cap, estimate(long) - 1)


@given(
    rows=st.lists(st.text(alphabet="ab1, ", min_size=1, max_size=20), min_size=12, max_size=60),
    columns=st.integers(3, 6),
)
def test_a_shown_table_holds_only_its_own_rows_in_order(rows: list[str], columns: int) -> None:
    lines = [",".join([row.replace(",", "") for _ in range(columns)]) for row in rows]
    table = table_of("\n".join(["h," * (columns - 1) + "h", *lines]))

    assert table is not None
    shown = [line for line in table.shown(60, "[end]").split("\n") if not line.startswith("[")]
    whole = iter([*table.before, *table.heading, *table.rows])
    assert all(any(line == each for each in whole) for line in shown)
