"""Small definitions that together have every kind of step before, at and after a pivot."""

from __future__ import annotations

from typing import Any

from saga.language.model import SagaDefinition
from tests.driver import call, defined, step

_RETRY = {"attempts": 2, "initial": "100ms", "max": "1s"}
_POLICY = {"timeout": "5s", "retry": _RETRY}
_UNDO_POLICY = {"timeout": "5s", "retry": {**_RETRY, "within": "10s"}}
_ONCE = {"timeout": "5s", "retry": {**_RETRY, "attempts": 1}}
#: The input every kept saga was started with.
INPUT = {"yes": True, "no": False, "items": ["a", "b"], "none": []}
_SIGNAL = {"name": "approval", "timeout": "3s", "refused_when": "${response.body.no}"}
_TASK = {"queue": "q", "input": {"id": "${key}"}, **_POLICY}
_CHILD = {"name": "child", "version": 1, "input": {}}


def _call(name: str, **members: Any) -> dict[str, Any]:
    return call(f"/{name}", on_status={"402": "refused"}, pending={"timeout": "2s", "poll": "1s"}, **members)


def _step(name: str, **members: Any) -> dict[str, Any]:
    other = members.keys() & {"wait", "signal", "fail", "saga", "worker"}
    return step(name, **({} if other else {"action": _call(name, **_POLICY)}) | members)


def _undone(name: str, **members: Any) -> dict[str, Any]:
    return _step(
        name, compensation={"method": "DELETE", **_call(f"{name}/${{key}}", **_UNDO_POLICY)}, **members
    )


def _once(name: str) -> dict[str, Any]:
    undo = {"method": "DELETE", **_call(f"{name}/${{key}}", **_ONCE)}
    return step(name, [], action=_call(name, **_ONCE), compensation=undo)


def shapes() -> dict[str, SagaDefinition]:
    """Return the definitions, each under a word for what it is there for."""
    return {
        "two": defined(_undone("a"), _undone("b")),
        "beside": defined(
            _undone("a", after=[]), _undone("b", after=[], on_refused="continue"), timeout="30s", due="9s"
        ),
        "once": defined(_once("a"), _once("b")),
        "pivot": defined(_undone("a"), _undone("p", pivot=True), _step("e", no_undo=True)),
        "bare pivot": defined(
            _undone("a"), _step("p", pivot=True, compensation="none"), _step("e", no_undo=True), due="1s"
        ),
        "unmade": defined(
            _step("a", compensation={"service": "s", "path": "/${input.absent}"}), _step("f", fail="never")
        ),
        "forgetful": defined(
            _undone("a"), _undone("b"), services={"s": {"url": "http://127.0.0.1:1", "key_lifetime": "3s"}}
        ),
        "conditions": defined(
            _undone("a", when="${input.no}"), _step("f", fail="never", when="${input.yes}")
        ),
        "instances": defined(_undone("a", for_each="${input.items}", max_parallel=1)),
        "instances after": defined(
            _undone("p", pivot=True), _step("e", no_undo=True, for_each="${input.items}"), due="9s"
        ),
        "no instances": defined(_undone("a", for_each="${input.none}")),
        "tasks": defined(_step("a", worker=_TASK, compensation={"worker": _TASK})),
        "task after": defined(_undone("p", pivot=True), _step("e", worker=_TASK, no_undo=True)),
        "child": defined(_undone("a"), _step("c", saga=_CHILD)),
        "child after": defined(_undone("p", pivot=True), _step("c", saga=_CHILD)),
        "waits": defined(
            _step("w", wait="10s"), _undone("a"), _step("x", wait="${input.absent}"), timeout="8s"
        ),
        "signals": defined(_undone("a"), _step("s", signal=_SIGNAL)),
        "signal after": defined(
            _undone("p", pivot=True), _step("s", signal=_SIGNAL), _step("f", fail="never")
        ),
        "unsent": defined(_step("a", action=_call("a", query={"q": "${input.absent}"}))),
        "output": defined(
            _undone("a", output={"of": "${response.body.of}", "no": "${response.body.no}"}),
            output={"of": "${steps.a.output.of}", "no": "${steps.a.output.no || input.absent}"},
        ),
    }


def more() -> dict[str, SagaDefinition]:
    """Return definitions of executed kinds alone, for who has to do without the others."""
    return {
        "chosen": defined(
            _undone("a", when="${input.no}"),
            _undone("b"),
            _step("c", when="${input.yes}", no_undo=True, compensation="none"),
        ),
        "wide": defined(
            _undone("a", after=[]), _undone("b", after=[]), _undone("c", after=["a", "b"]), due="9s"
        ),
        "lacking": defined(
            _undone("p", pivot=True),
            _step("e", no_undo=True, action=_call("e", query={"q": "${input.absent}"})),
        ),
        "forked": defined(
            _undone("p", pivot=True), _step("e", no_undo=True), _step("f", after=["p"], no_undo=True)
        ),
        "not undone": defined(
            _step("a", compensation={"service": "s", "path": "/${input.absent}"}), _undone("b")
        ),
    }
