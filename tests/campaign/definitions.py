"""The sagas that are put under load, as documents, and what of them the judge needs to know.

All retries are short, so that a saga lives through several kills in a second. The variants differ in what they
provoke: ``hasty_booking`` has a deadline that passes while the coordinator is down, ``stubborn_trip`` a car whose
return some desks refuse for good, and ``ticket`` is a step after the pivot that some sagas never get.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

SERVICES = ("flights", "hotels", "payments", "cars", "tickets")

#: Of a call that a slow participant (up to 0.4 s) may overrun, and of one that waits for it.
IMPATIENT, PATIENT = "150ms", "1s"

_DEFAULTS = {
    "action": {"timeout": PATIENT, "retry": {"attempts": 4, "initial": "20ms", "factor": 2, "max": "200ms"}},
    "compensation": {"timeout": PATIENT, "retry": {"initial": "20ms", "factor": 2, "max": "200ms"}},
}


#: How long the outcome is waited for of what was accepted with 202.
_PENDING = {"timeout": "1s", "poll": "10s"}


def _reserve(name: str, service: str, *, timeout: str = PATIENT, **more: Any) -> dict[str, Any]:
    call = {
        "service": service,
        "path": "/reservations",
        "body": {"id": "${key}", "what": f"${{input.{service}}}"},
    }
    undo = {"method": "DELETE", "path": "/reservations/${key}", "on_status": {"404": "succeeded"}}
    return {
        "name": name,
        "action": {**call, "timeout": timeout, **more.pop("action", {})},
        "compensation": {**undo, **more.pop("undo", {})},
        **more,
    }


def _charge(after: list[str]) -> dict[str, Any]:
    return {
        "name": "charge_card",
        "after": after,
        "pivot": True,
        "action": {
            "service": "payments",
            "path": "/charges",
            "body": {"id": "${key}", "seat": "${steps.reserve_flight.output.id}"},
            "on_status": {"402": "refused"},
        },
        "compensation": {"path": "/charges/${key}/refund", "on_status": {"404": "succeeded"}},
    }


def _ticket() -> dict[str, Any]:
    retry = {"attempts": 3, "initial": "20ms", "max": "200ms"}
    body = {"id": "${key}", "seat": "${steps.reserve_flight.output.id}"}
    call = {"service": "tickets", "path": "/tickets", "body": body, "retry": retry, "pending": _PENDING}
    return {"name": "issue_ticket", "action": call}


def _hotel(**more: Any) -> dict[str, Any]:
    declined = {"refused_when": "${response.body.status == 'DECLINED'}", "pending": _PENDING}
    return _reserve("reserve_hotel", "hotels", when="${input.hotels}", action=declined, **more)


def _booking(name: str, **top: Any) -> dict[str, Any]:
    flight = _reserve("reserve_flight", "flights", timeout=IMPATIENT)
    steps = [flight, _hotel(after=[]), _charge(["reserve_flight", "reserve_hotel"]), _ticket()]
    return _document(name, steps, **top)


def _trip(name: str, *, undo: Mapping[str, Any]) -> dict[str, Any]:
    steps = [
        _reserve("reserve_flight", "flights"),
        _reserve("rent_car", "cars", after=[], timeout=IMPATIENT, undo=undo),
        _hotel(),
        _charge(["reserve_flight", "reserve_hotel"]),
        _ticket(),
    ]
    return _document(name, steps)


def _document(name: str, steps: list[dict[str, Any]], **top: Any) -> dict[str, Any]:
    output = {"seat": "${steps.reserve_flight.output.id}"}
    return {"name": name, **top, "defaults": _DEFAULTS, "steps": steps, "output": output}


def documents(urls: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the definitions, addressed to these participants."""
    found = [
        _booking("booking", timeout="30s"),
        _booking("hasty_booking", timeout="150ms"),
        _trip("trip", undo={}),
        _trip("stubborn_trip", undo={"on_status": {"404": "succeeded", "409": "refused"}}),
    ]
    return [
        {**document, "services": {name: {"url": url} for name, url in urls.items()}} for document in found
    ]


#: How often each is started.
WEIGHTS = {"booking": 40, "hasty_booking": 22, "trip": 24, "stubborn_trip": 14}


# --------------------------------------------------------------------------- what the judge knows of them


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One step of a definition, as far as a judge must know it."""

    name: str
    service: str
    #: Steps that have to be over before it.
    after: tuple[str, ...]
    #: Member of the input that must be there for the step to be wanted; None: always wanted.
    wants: str | None
    undoable: bool


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One definition, as far as a judge must know it."""

    name: str
    pivot: str | None
    steps: tuple[Planned, ...]
    upstream: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def wanted(self, given: Mapping[str, Any]) -> list[Planned]:
        """Return the steps that a saga with this input has to do."""
        return [step for step in self.steps if step.wants is None or given.get(step.wants)]


def plan(document: Mapping[str, Any]) -> Plan:
    """Read a document of this module."""
    steps = tuple(_planned(document["steps"]))
    upstream: dict[str, frozenset[str]] = {}
    for step in steps:
        above = [upstream[name] | {name} for name in step.after]
        upstream[step.name] = frozenset().union(*above)
    pivots = [step["name"] for step in document["steps"] if step.get("pivot")]
    return Plan(name=document["name"], pivot=pivots[0] if pivots else None, steps=steps, upstream=upstream)


def _planned(steps: list[dict[str, Any]]) -> Iterator[Planned]:
    before: tuple[str, ...] = ()
    for step in steps:
        when = step.get("when")
        yield Planned(
            name=step["name"],
            service=step["action"]["service"],
            after=tuple(step["after"]) if "after" in step else before,
            wants=when.removeprefix("${input.").removesuffix("}") if when else None,
            undoable="compensation" in step,
        )
        before = (step["name"],)
