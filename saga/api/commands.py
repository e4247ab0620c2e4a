"""What a person asks of a saga, and the signals that are sent to it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple, cast

import uuid_utils
from aiohttp import web
from pydantic_core import to_json

from saga.api import bodies
from saga.api.access import who
from saga.api.keys import CLOCK, POST
from saga.api.problems import invalid
from saga.api.refusal import Refusal
from saga.api.sagas import found, shown
from saga.core import entries as e
from saga.core.commands import Command
from saga.core.messages import SIGNAL_LIMIT
from saga.errors import NewerJournal, Problem
from saga.ports.stored import Message


class Kind(NamedTuple):
    """What there is to know of a command before it is judged."""

    #: What it does, for a person.
    says: str
    #: Members of its body besides the reason.
    members: tuple[str, ...] = ()
    #: Those of them that it needs.
    needed: tuple[str, ...] = ()
    #: Types of problem it can be answered with.
    refusals: tuple[str, ...] = ()


COMMANDS: Final[Mapping[Command, Kind]] = {
    "pause": Kind(
        "Send nothing until it is resumed; timers stand still.", refusals=("saga-ended", "saga-parked")
    ),
    "resume": Kind("Go on where it was paused.", refusals=("saga-ended", "saga-parked")),
    "cancel": Kind(
        "Undo what was done; before the pivot only.", refusals=("saga-ended", "pivot-passed", "pivot-invoked")
    ),
    "retry": Kind(
        "Try again now what is parked or waits for its next attempt, with a new budget.",
        ("step",),
        refusals=("saga-ended", "saga-paused", "step-unknown", "nothing-to-retry"),
    ),
    "skip": Kind(
        "Leave out a step that was never invoked, or what is parked.",
        ("step",),
        ("step",),
        ("saga-ended", "step-unknown", "not-skippable", "pivot"),
    ),
    "resolve": Kind(
        "Say what is the case with a parked step: a person found out, or did it by hand.",
        ("step", "outcome", "output"),
        ("step", "outcome"),
        ("saga-ended", "step-unknown", "not-parked", "not-refused", "size"),
    ),
    "abandon": Kind("End the saga without undoing what is left.", refusals=("saga-ended",)),
}


async def command(request: web.Request) -> web.Response:
    """Put a command into the saga's inbox, and answer with what its owner made of it."""
    saga_id, name = bodies.saga_id_of(request), cast("Command", request.match_info["command"])
    body, _ = await bodies.read_body(request, bodies.CommandBody, required=False)
    _check(name, body)
    with suppress(NewerJournal):  # which a node of a later release reads, and the command with it
        await found(request, saga_id)
    post = request.app[POST]
    said = {member: value for member in body.model_fields_set if (value := getattr(body, member)) is not None}
    message = _message(request, "command", {"command": name, **said})
    if not await post.deliver(saga_id, message):
        raise bodies.unknown_saga()
    verdict = await post.verdict(saga_id, message.id)
    if verdict is None:
        return bodies.json_response({"recorded": True, "id": message.id}, 202)
    if isinstance(verdict.entry, e.CommandRefused):
        # A later release may have judged, by a word that is not known here.
        refused = verdict.entry
        raise Refusal(refused.type, refused.detail, status=409, saga=shown(verdict.seen))
    return bodies.json_response(shown(verdict.seen))


async def signal(request: web.Request) -> web.Response:
    """Send a signal to a saga; it is kept until a step waits for it."""
    saga_id, name = bodies.saga_id_of(request), request.match_info["name"]
    payload = await bodies.read_value(request, empty=None)
    seen = await found(request, saga_id)
    if not any(step.signal is not None and step.signal.name == name for step in seen.definition.steps):
        raise Refusal("signal-unknown", f"{seen.state.definition} has no signal of this name")
    if seen.state.ended:
        raise Refusal("saga-ended", f"the saga has ended: it is {seen.state.status}", saga=shown(seen))
    if len(seen.state.signals.get(name, ())) >= SIGNAL_LIMIT:
        soon = {"Retry-After": "1"}
        raise Refusal("signals-full", f"{SIGNAL_LIMIT} signals of this name wait already", headers=soon)
    message = _message(request, "signal", {"name": name, "payload": payload})
    await request.app[POST].deliver(saga_id, message)
    return bodies.json_response({"recorded": True, "id": message.id}, 202)


def _check(name: Command, body: bodies.CommandBody) -> None:
    """Refuse members that mean nothing to this command, and the lack of those it needs."""
    kind = COMMANDS[name]
    problems = [
        Problem(pointer=f"/{member}", detail=f"means nothing to {name}: remove it")
        for member in sorted(body.model_fields_set - {"reason", *kind.members})
    ]
    problems += [
        Problem(pointer=f"/{member}", detail=f"{name} needs it")
        for member in kind.needed
        if getattr(body, member) is None
    ]
    if problems:
        raise invalid("request-invalid", problems)


def _message(request: web.Request, kind: str, body: dict[str, Any]) -> Message:
    return Message(
        id=str(uuid_utils.uuid7()),
        kind=kind,
        body=to_json(body),
        by=who(request),
        at=request.app[CLOCK].now(),
    )
