"""How the emulated models behave: a competent way of working each kind of ticket, and where the cheaper models slip.

A model's next action follows from the ticket, the desk it works at, and the last tool call it sees, never from how long the
conversation is: so every way of running the desk meets the same models, whatever part of the history they are shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from governor_sandbox import Conversation, Message, Reply, ScriptedCall

TICKETS = Path(__file__).with_name("tickets.yaml")
LEVELS = (("nova-micro", 0), ("nova-pro", 1))
"""What a model's id contains and how able it is; any other model is able (2)."""
CLAIM = re.compile(r"CLAIM-\d+-\d+")
HANDLE = re.compile(r'recall\(handle="([^"]+)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Slip:
    """Where a model below `below` goes wrong."""

    desk: str
    at: int
    below: int
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """One customer's ticket."""

    id: str
    kind: str
    customer: str
    orders: tuple[str, ...]
    text: str
    slips: tuple[Slip, ...] = ()

    @property
    def message(self) -> str:
        """What the desk is given."""
        return f"Ticket {self.id} from customer {self.customer}: {self.text}"

    @property
    def refund(self) -> bool:
        """Whether money goes back."""
        return self.kind in ("damage", "return")

    def steps(self, desk: str) -> Sequence[ScriptedCall]:
        """The tool calls with which a competent model works this ticket, in order. `{claim}` and `{paid}` are read from what it sees."""
        target = self.orders[0]
        if desk == "refunds":
            return (
                _call("get_refund_policy", topic="damage" if self.kind == "damage" else "returns"),
                _call("get_payment", order_id=target),
                _call("issue_refund", order_id=target, amount_usd="{paid}", reason=self.kind),
            )
        calls = [_call("list_orders", customer_id=self.customer), _call("read_policy", topic=_TOPIC[self.kind])]
        for order in self.orders:
            calls.append(_call("get_order", order_id=order))
            for page in (1, 2, 3, 4):
                calls.append(_call("get_shipment_log", order_id=order, page=page))
                if page == 2 and order == target and self.kind == "damage":
                    calls.append(_call("add_note", order_id=order, text="damaged in transit, carrier claim {claim}"))
        return (*calls, *_ENDINGS[self.kind](target))


def _call(name: str, **args: Any) -> ScriptedCall:
    return ScriptedCall(name=name, args=args)


_TOPIC = {"damage": "damage", "cancel": "cancellation", "address": "address", "return": "returns"}
_ENDINGS: Mapping[str, Callable[[str], Sequence[ScriptedCall]]] = {
    "damage": lambda order: (),
    "return": lambda order: (_call("add_note", order_id=order, text="return label sent, refund approved"),),
    "cancel": lambda order: (_call("cancel_order", order_id=order, reason="ordered by mistake"),),
    "address": lambda order: (_call("change_address", order_id=order, address="7 Mill Lane, 10115 Berlin"),),
}


def load_tickets(path: Path = TICKETS) -> tuple[Ticket, ...]:
    """The queue, as written in `tickets.yaml`."""
    rows: list[dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))["tickets"]
    return tuple(_ticket(**row) for row in rows)


def _ticket(*, orders: Sequence[str], slips: Sequence[dict[str, Any]] = (), **fields: str) -> Ticket:
    return Ticket(orders=tuple(orders), slips=tuple(Slip(**slip) for slip in slips), **fields)


class Desk:
    """Answers every request of the support desk. Stateless: all it knows is in the conversation it is shown."""

    def __init__(self, tickets: Sequence[Ticket]) -> None:
        """`tickets` may be asked about in any order and at once."""
        self._tickets = {ticket.id: ticket for ticket in tickets}

    def __call__(self, conversation: Conversation) -> Reply:
        """The reply of `conversation.model` at the desk that the system text names."""
        found = re.search(r"Ticket (T-\d+)", conversation.task.text)
        if found is None:
            return Reply(text="I do not see a ticket.")
        ticket = self._tickets[found[1]]
        if conversation.system.startswith("You plan"):
            return Reply(text=json.dumps({"orders": list(ticket.orders), "refund": ticket.refund}))
        if conversation.system.startswith("You check"):
            return Reply(text="The order is on record and its state fits the ticket.", pad_to_tokens=60)
        if conversation.system.startswith("You write"):
            return Reply(text=f"Dear customer, ticket {ticket.id} is done.", pad_to_tokens=90)
        desk = "refunds" if conversation.system.startswith("You are the refunds") else "orders"
        return _work(ticket, desk, conversation)


def _work(ticket: Ticket, desk: str, conversation: Conversation) -> Reply:
    steps = ticket.steps(desk)
    last, failed = _last_call(conversation)
    position = 0 if last is None else _position(steps, last) + (not failed)
    if position == len(steps):
        return Reply(text=f"Ticket {ticket.id}: all done and noted.", pad_to_tokens=80)
    step = steps[position]
    missing = _missing(step, conversation)
    if missing is not None:
        return Reply(text="The part I need was left out; I read it.", tool_calls=(missing,))
    level = next((level for part, level in LEVELS if part in conversation.model), 2)
    slip = next(
        (slip for slip in ticket.slips if slip.desk == desk and slip.at == position and level < slip.below), None
    )
    call = _slipped(step, slip.says) if slip else _filled(step, conversation)
    return Reply(text="I go on with the next step.", pad_to_tokens=25, tool_calls=(call,))


def _last_call(conversation: Conversation) -> tuple[ScriptedCall | None, bool]:
    """The last tool call in sight that was not a recall, and whether it failed."""
    results = {result.id: result for message in conversation.messages for result in message.tool_results}
    for message in reversed(conversation.messages):
        for call in message.tool_calls:
            if call.name != "recall":
                result = results.get(call.id)
                return ScriptedCall(name=call.name, args=call.args), bool(result and result.is_error)
    return None, False


def _position(steps: Sequence[ScriptedCall], last: ScriptedCall) -> int:
    """Which step a call was, also when it slipped: digits and names that a slip garbles are compared leniently."""
    return max(range(len(steps)), key=lambda index: (_likeness(steps[index], last), -index))


def _likeness(step: ScriptedCall, call: ScriptedCall) -> int:
    if step.name != call.name:
        return -1
    same = 0
    for key, value in step.args.items():
        given = str(call.args.get(key, call.args.get("order", "")))
        same += 2 * (given == str(value)) + (bool(given) and given.removeprefix("O-") == str(value).removeprefix("O-"))
    return same


def _missing(step: ScriptedCall, conversation: Conversation) -> ScriptedCall | None:
    """A recall, when the step needs a claim number that is not in sight but may be in a shortened result."""
    if "{claim}" not in str(step.args.get("text")) or CLAIM.search(_newest_result(conversation)):
        return None
    handles = HANDLE.findall(_newest_result(conversation))
    if not handles:
        return None
    return _call("recall", handle=handles[0])


def _newest_result(conversation: Conversation) -> str:
    last: Message = conversation.last
    return "\n".join(result.text for result in last.tool_results)


def _filled(step: ScriptedCall, conversation: Conversation) -> ScriptedCall:
    """The step with what the model reads off the results in sight."""
    seen = "\n".join(result.text for message in conversation.messages for result in message.tool_results)
    claims, paid = CLAIM.findall(seen), re.findall(r'"paid_usd": "([\d.]+)"', seen)
    return ScriptedCall(
        name=step.name,
        args={
            key: float(paid[-1] if paid else 0) if value == "{paid}" else _named(value, claims[-1:])
            for key, value in step.args.items()
        },
    )


def _named(value: Any, claims: Sequence[str]) -> Any:
    return value.replace("{claim}", claims[0] if claims else "unknown") if isinstance(value, str) else value


def _slipped(step: ScriptedCall, says: str) -> ScriptedCall:
    """What a model that is not up to the step says instead."""
    args = dict(step.args)
    if says == "wrong_number":
        args["order_id"] = str(args["order_id"]).removeprefix("O-")
    elif says == "wrong_amount":
        args["amount_usd"] = 999.0
    elif says == "missing_argument":
        args["order"] = args.pop("order_id")
    return ScriptedCall(name=step.name, args=args)
