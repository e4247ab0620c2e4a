"""The five services: what each sells, under which routes, and what it says no to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, TypeAlias

from compensations.barrier import Turn
from compensations.delivery import Answer, Phase

from .ledger import Ledger

#: Cards that are declined: the first with a status, the second in the body of a 200.
DECLINED = "4000000000000002"
DECLINED_IN_BODY = "4000000000000341"
#: A flight or hotel of this name has nothing left.
FULL = "FULL"
CAR_PRICES = {"compact": 40, "estate": 65, "van": 90}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request as its business function sees it."""

    operation: str
    #: The JSON body; {} when there is none, or when it is no object.
    body: Mapping[str, Any]
    query: Mapping[str, str]
    #: The id in the path, decoded; "" when the route has none.
    item: str
    ledger: Ledger
    turn: Turn

    def key(self) -> str:
        """Return the key without the suffix that tells the phases apart."""
        return self.turn.delivery.action_key.removesuffix(":action")

    def text(self, name: str) -> str:
        """Return a member of the body that must be text; "" when it is not."""
        value = self.body.get(name)
        return value if isinstance(value, str) else ""


Business: TypeAlias = Callable[[Call], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One route that executes one phase."""

    name: str
    phase: Phase
    method: str
    path: str
    business: Business


def _no(status: int, why: str) -> Answer:
    return Answer.json(status, {"error": why})


def _price(name: str, low: int, span: int) -> int:
    """Return the price of a thing: always the same for one name."""
    return low + int.from_bytes(sha256(name.encode()).digest()[:4], "big") % span


def _add(call: Call, kind: str, state: str, shown: Mapping[str, Any]) -> Answer:
    item = call.text("id") or call.key()
    detail = {"id": item, **shown}
    if not call.ledger.add(call.operation, kind, item, state, detail, call.turn):
        return _no(422, f"there is a {kind} {item!r} already")
    return Answer.json(201, detail)


def _undo(kind: str, state: str) -> Business:
    def business(call: Call) -> Answer:
        if call.ledger.move(call.operation, kind, call.item, state, call.turn):
            return Answer.json(200, {"id": call.item, "state": state})
        if _had_no_effect(call.turn.undoes):
            call.ledger.withdraw(call.turn.delivery.action_key)
            return Answer.json(200, {"id": call.item, "state": "none"})
        return _no(404, f"there is no {kind} {call.item!r}")

    return business


def _had_no_effect(action: Answer | None) -> bool:
    """Whether an action that was answered 2xx still left nothing: it was only accepted, or declined in the body."""
    if action is None or action.status == 202:
        return True
    return bool(json.loads(action.body).get("status") == "DECLINED")


def _reserve(thing: str, low: int, span: int) -> Business:
    def business(call: Call) -> Answer:
        name = call.text(thing)
        if not name:
            return _no(400, f"which {thing}?")
        if name.upper().startswith(FULL):
            return _no(422, f"{thing} {name!r} is full")
        return _add(call, "reservation", "held", {thing: name, "price": _price(name, low, span)})

    return business


def _rent(call: Call) -> Answer:
    kind = call.query.get("class", "compact")
    if kind not in CAR_PRICES:
        return _no(404, f"there are no cars of class {kind!r}")
    return _add(call, "rental", "held", {"class": kind, "price": CAR_PRICES[kind]})


def _charge(call: Call) -> Answer:
    amount, card = call.body.get("amount"), _card(call.body.get("card"))
    if isinstance(amount, bool) or not isinstance(amount, int | float) or amount < 0:
        return _no(400, "amount must be a number, not negative")
    declined = {"id": call.text("id"), "status": "DECLINED"}
    if card == DECLINED_IN_BODY:
        return Answer.json(200, declined)
    if card == DECLINED:
        return Answer.json(402, declined | {"error": "the card was declined"})
    return _add(call, "payment", "charged", {"status": "CHARGED", "amount": amount, "card": card[-4:]})


def _card(value: Any) -> str:
    """Return the number of a card that is given as text or as an object; only its end is ever kept."""
    return str(value.get("number", "") if isinstance(value, dict) else value or "").replace(" ", "")


def _issue(call: Call) -> Answer:
    if not call.text("reservation"):
        return _no(400, "a ticket for which reservation?")
    number = f"125-{_price(call.key(), 10**9, 9 * 10**9)}"
    return _add(call, "ticket", "issued", {"number": number, "reservation": call.text("reservation")})


def _action(name: str, path: str, business: Business) -> Operation:
    return Operation(name=name, phase="action", method="POST", path=path, business=business)


def _compensation(name: str, method: str, path: str, business: Business) -> Operation:
    return Operation(name=name, phase="compensation", method=method, path=path, business=business)


_RELEASE = _compensation("release", "DELETE", "/reservations/{id}", _undo("reservation", "released"))
_TICKETS = _action("issue", "/tickets", _issue)

#: What each service offers, in the order of their ports.
SERVICES: Mapping[str, tuple[Operation, ...]] = {
    "flights": (_action("reserve", "/reservations", _reserve("flight", 120, 480)), _RELEASE, _TICKETS),
    "hotels": (_action("reserve", "/reservations", _reserve("hotel", 60, 240)), _RELEASE),
    "payments": (
        _action("charge", "/charges", _charge),
        _compensation("refund", "POST", "/charges/{id}/refund", _undo("payment", "refunded")),
    ),
    "cars": (
        _action("rent", "/rentals", _rent),
        _compensation("return", "DELETE", "/rentals/{id}", _undo("rental", "released")),
    ),
    "tickets": (_TICKETS,),
}
