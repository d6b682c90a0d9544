"""The workers' tools. They read and change the shop's database, check what they are given, and say what is wrong with it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from langchain_core.tools import BaseTool, ToolException, tool

from examples.support_desk.database import Database

PAGE = 80
POLICIES = {
    "returns": "A delivered order may be returned within thirty days. The customer pays the way back unless the goods are faulty.",
    "damage": "Damage in transit is refunded in full once the carrier's claim number stands in the order's notes. A claim number has the "
    "form CLAIM-<order>-<number> and is found in the shipment log. Without it no refund may be issued.",
    "cancellation": "An order in processing may be cancelled by the customer at any time. One in transit can only be returned.",
    "address": "The address of an order may be changed while it is in processing. The customer's own record is changed only on request.",
}
CLAUSE = (
    "Clause {n}. The desk records what it did and why, quotes the order by its number, and never promises a date that the carrier has not "
    "confirmed; where two clauses of the {topic} policy collide, the one that is kinder to the customer holds, within the law."
)


def order_tools(database: Database) -> Sequence[BaseTool]:
    """What the orders desk may use."""
    return (*_reading(database), *_changing(database))


def _reading(database: Database) -> Sequence[BaseTool]:
    @tool
    def get_order(order_id: str) -> str:
        """Read an order with its items. Order numbers look like O-5001."""
        return json.dumps(_order(database, order_id), indent=1)

    @tool
    def list_orders(customer_id: str) -> str:
        """List all orders of a customer, with items. Customer numbers look like C-1001."""
        if not re.fullmatch(r"C-\d{4}", customer_id):
            raise ToolException(f"{customer_id!r} is no customer number: they look like C-1001")
        found = database.rows("SELECT id FROM orders WHERE customer = ? ORDER BY id", customer_id)
        return json.dumps([_order(database, row["id"]) for row in found], indent=1)

    @tool
    def get_shipment_log(order_id: str, page: int = 1) -> str:
        """Read the carrier's scans of an order, oldest first, 80 a page, four pages."""
        _order(database, order_id)
        scans = database.rows("SELECT * FROM scans WHERE order_id = ? ORDER BY position", order_id)[
            (page - 1) * PAGE : page * PAGE
        ]
        if not scans:
            raise ToolException(f"page {page} of the log of {order_id} does not exist: there are four")
        return "\n".join(f"{scan['at']} {scan['place']}: {scan['event']}" for scan in scans)

    @tool
    def read_policy(topic: str) -> str:
        """Read a policy of the shop: returns, damage, cancellation or address."""
        return _policy(topic)

    return _checked(get_order, list_orders, get_shipment_log, read_policy)


def _changing(database: Database) -> Sequence[BaseTool]:
    @tool
    def change_address(order_id: str, address: str) -> str:
        """Change the delivery address of an order in processing."""
        order = _order(database, order_id)
        if order["status"] != "processing":
            raise ToolException(f"{order_id} is {order['status']}: its address can no longer be changed")
        database.write("UPDATE orders SET address = ? WHERE id = ?", address, order_id)
        return f"{order_id} goes to {address}"

    @tool
    def cancel_order(order_id: str, reason: str) -> str:
        """Cancel an order in processing."""
        order = _order(database, order_id)
        if order["status"] != "processing":
            raise ToolException(f"{order_id} is {order['status']}: it can no longer be cancelled")
        database.write("UPDATE orders SET status = 'cancelled' WHERE id = ?", order_id)
        database.write("INSERT INTO notes VALUES (?, ?)", order_id, f"cancelled: {reason}")
        return f"{order_id} is cancelled"

    @tool
    def add_note(order_id: str, text: str) -> str:
        """Write a note on an order."""
        _order(database, order_id)
        database.write("INSERT INTO notes VALUES (?, ?)", order_id, text)
        return f"noted on {order_id}"

    return _checked(change_address, cancel_order, add_note)


def refund_tools(database: Database) -> Sequence[BaseTool]:
    """What the refunds desk may use."""

    @tool
    def get_payment(order_id: str) -> str:
        """Read what was paid for an order and what was refunded already."""
        order = _order(database, order_id)
        refunds = database.rows("SELECT * FROM refunds WHERE order_id = ?", order_id)
        return json.dumps(
            {"order": order_id, "paid_usd": order["total_usd"], "items": order["items"], "refunds": refunds}, indent=1
        )

    @tool
    def get_refund_policy(topic: str) -> str:
        """Read a policy of the shop: returns, damage, cancellation or address."""
        return _policy(topic)

    @tool
    def issue_refund(order_id: str, amount_usd: float, reason: str) -> str:
        """Refund money, in dollars, at most what was paid."""
        order = _order(database, order_id)
        amount = Decimal(str(amount_usd))
        if not 0 < amount <= Decimal(order["total_usd"]):
            raise ToolException(f"${amount_usd} is not between 0 and the {order['total_usd']} paid for {order_id}")
        if database.rows("SELECT 1 FROM refunds WHERE order_id = ?", order_id):
            raise ToolException(f"{order_id} was refunded already")
        database.write("INSERT INTO refunds VALUES (?, ?, ?)", order_id, f"{amount:.2f}", reason)
        return f"refunded ${amount:.2f} for {order_id}"

    return _checked(get_payment, get_refund_policy, issue_refund)


def _checked(*tools: BaseTool) -> Sequence[BaseTool]:
    for each in tools:
        each.handle_tool_error = True  # the model reads what was wrong and may try again
    return tools


def _order(database: Database, order_id: str) -> dict[str, Any]:
    if not re.fullmatch(r"O-\d{4}", order_id):
        raise ToolException(f"{order_id!r} is no order number: they look like O-5001")
    found = database.rows("SELECT * FROM orders WHERE id = ?", order_id)
    if not found:
        raise ToolException(f"there is no order {order_id}")
    items = database.rows("SELECT sku, title, quantity, price_usd FROM items WHERE order_id = ?", order_id)
    return {**found[0], "items": items}


def _policy(topic: str) -> str:
    if topic not in POLICIES:
        raise ToolException(f"there is no policy on {topic!r}: only {', '.join(POLICIES)}")
    clauses = (CLAUSE.format(n=n, topic=topic) for n in range(1, 61))
    return "\n".join((POLICIES[topic], *clauses))
