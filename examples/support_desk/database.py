"""The shop's database: customers, orders, shipments, refunds, notes. Seeded from a fixed random seed, so every run starts alike."""

from __future__ import annotations

import hashlib
import json
import random
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SCHEMA = """
CREATE TABLE customers (id TEXT PRIMARY KEY, name TEXT, email TEXT, street TEXT, city TEXT, postcode TEXT, since TEXT);
CREATE TABLE orders (id TEXT PRIMARY KEY, customer TEXT, placed TEXT, status TEXT, total_usd TEXT, address TEXT);
CREATE TABLE items (order_id TEXT, sku TEXT, title TEXT, quantity INTEGER, price_usd TEXT);
CREATE TABLE scans (order_id TEXT, position INTEGER, at TEXT, place TEXT, event TEXT);
CREATE TABLE refunds (order_id TEXT, amount_usd TEXT, reason TEXT);
CREATE TABLE notes (order_id TEXT, text TEXT);
"""
OUTCOME = ("customers", "orders", "refunds", "notes")
"""Tables whose end state is the outcome of a queue of tickets."""

TITLES = (
    "Trail shoe",
    "Rain jacket",
    "Down vest",
    "Trekking pole",
    "Head lamp",
    "Dry bag",
    "Gas stove",
    "Titanium mug",
    "Map case",
)
PLACES = ("Leipzig hub", "Rotterdam port", "Lyon depot", "Poznan hub", "Ghent depot", "Graz station", "Turin hub")
EVENTS = (
    "Parcel sorted on belt {n}, weight checked at {n}.2 kg, label read at the first attempt, next leg planned by the night schedule",
    "Parcel loaded into container {n}, seal number {n}88{n}, container closed by the shift leader and handed to the line haul",
    "Parcel unloaded from container {n}, seal intact, moved to lane {n} and queued for the morning wave of deliveries",
    "Customs data matched against invoice line {n}, duty class confirmed, released without inspection by the clearing agent",
)


Row = tuple[str | int, ...]


class Database:
    """One shop. Safe to use from the threads of a fan-out."""

    def __init__(self, path: Path | str = ":memory:") -> None:
        """Create the tables and seed them."""
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        self._connection.executescript(SCHEMA)
        _seed(self)

    def rows(self, sql: str, *parameters: object) -> list[dict[str, Any]]:
        """Run a query."""
        with self._lock:
            return [dict(row) for row in self._connection.execute(sql, parameters)]

    def write(self, sql: str, *parameters: object) -> int:
        """Run a change and commit it; how many rows it touched."""
        with self._lock, self._connection:
            return self._connection.execute(sql, parameters).rowcount

    def fill(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """Insert many rows."""
        with self._lock, self._connection:
            self._connection.executemany(sql, rows)

    def end_state(self) -> dict[str, list[dict[str, Any]]]:
        """What the tickets changed, in an order that does not depend on who came first."""
        return {table: sorted(self.rows(f"SELECT * FROM {table}"), key=json.dumps) for table in OUTCOME}  # noqa: S608 - constants

    def digest(self) -> str:
        """A fingerprint of the end state."""
        return hashlib.sha256(json.dumps(self.end_state(), sort_keys=True).encode()).hexdigest()[:16]

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _seed(database: Database) -> None:
    chance = random.Random(20_261_124)  # noqa: S311 - test data
    customers = [_customer(n) for n in range(1, 41)]
    orders: list[Row] = []
    items: list[Row] = []
    scans: list[Row] = []
    for n in range(1, 201):
        order = f"O-{5000 + n}"
        customer = customers[n % len(customers)]
        lines = [_item(chance) for _ in range(chance.randint(2, 6))]
        total = sum(quantity * round(float(price) * 100) for _, _, quantity, price in lines) / 100
        status = ("delivered", "in transit", "processing")[n % 3]
        orders.append((order, customer[0], f"2026-10-{n % 28 + 1:02d}", status, f"{total:.2f}", _address(customer)))
        items += [(order, *line) for line in lines]
        scans += _scans(order, chance)
    database.fill("INSERT INTO customers VALUES (?, ?, ?, ?, ?, ?, ?)", customers)
    database.fill("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?)", orders)
    database.fill("INSERT INTO items VALUES (?, ?, ?, ?, ?)", items)
    database.fill("INSERT INTO scans VALUES (?, ?, ?, ?, ?)", scans)


def _customer(n: int) -> tuple[str, ...]:
    name = f"{('Ada', 'Ben', 'Cleo', 'Dan', 'Eva')[n % 5]} {('Moss', 'Reed', 'Stone', 'Vale')[n % 4]}"
    return (
        f"C-{1000 + n}",
        name,
        f"customer{n}@example.com",
        f"{n} Harbour Street",
        "Bremen",
        f"28{n:03d}",
        f"20{10 + n % 15}",
    )


def _address(customer: Sequence[str]) -> str:
    return f"{customer[3]}, {customer[5]} {customer[4]}"


def _item(chance: random.Random) -> tuple[str, str, int, str]:
    title = chance.choice(TITLES)
    return (
        f"SKU-{chance.randint(10_000, 99_999)}",
        title,
        chance.randint(1, 3),
        f"{chance.randint(900, 9900) / 100:.2f}",
    )


def _scans(order: str, chance: random.Random) -> list[Row]:
    """A carrier's log: 320 scans, one of them (amid the second page) the damage claim that refunds are about."""
    rows: list[Row] = []
    for position in range(320):
        at = f"2026-11-{position // 16 + 1:02d}T{position % 16:02d}:{chance.randint(0, 59):02d}"
        event = chance.choice(EVENTS).format(n=chance.randint(2, 9))
        if position == 121:
            event = f"Damage seen at handover, carrier claim CLAIM-{order[2:]}-{chance.randint(100, 999)} opened, packaging photographed"
        rows.append((order, position, at, chance.choice(PLACES), event))
    return rows
