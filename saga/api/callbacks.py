"""Callbacks: the outcome of what a participant had answered with 202."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from saga.api import bodies
from saga.api.keys import CALLBACK_KEY, POST
from saga.api.problems import invalid
from saga.api.refusal import Refusal
from saga.core.messages import Callback, Told
from saga.core.tokens import read_token
from saga.errors import Problem, UnreadableJournal

_REFUSALS: Final[dict[Told, tuple[str, str]]] = {
    "unknown": ("callback-unknown", "this is no callback of this coordinator"),
    "conflict": ("outcome-stands", "another outcome was reported before, and stands"),
    "gone": ("too-late", "the saga went another way; what you say is recorded"),
}


async def callback(request: web.Request) -> web.Response:
    """Take the outcome of a pending invocation; it is durable before the answer."""
    addressed = read_token(request.app[CALLBACK_KEY], request.match_info["token"])
    if addressed is None:
        raise _refusal("unknown")
    body, _ = await bodies.read_body(request, bodies.CallbackBody)
    _check(body)
    said = Callback(
        step=addressed.step, phase=addressed.phase, outcome=body.outcome, output=body.output, error=body.error
    )
    try:
        told = await request.app[POST].callback(addressed, said, by="callback")
    except UnreadableJournal as error:
        soon = {"Retry-After": "60"}
        raise Refusal("not-judged", f"nothing was recorded: {error}", headers=soon) from error
    if told != "taken":
        raise _refusal(told)
    return bodies.json_response({"recorded": True})


def _check(body: bodies.CallbackBody) -> None:
    wrong = "error" if body.outcome == "succeeded" else "output"
    if getattr(body, wrong) is not None:
        detail = f"does not go with the outcome {body.outcome}"
        raise invalid("request-invalid", [Problem(pointer=f"/{wrong}", detail=detail)])


def _refusal(told: Told) -> Refusal:
    kind, detail = _REFUSALS[told]
    return Refusal(kind, detail)
