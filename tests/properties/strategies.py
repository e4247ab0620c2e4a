"""Hypothesis strategies: definitions of every shape, and what may happen to their sagas."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from saga.definition import parse_definition
from saga.language.model import SagaDefinition
from tests.driver import call

_RETRY = {"attempts": 2, "initial": "100ms", "max": "1s"}
_DEFAULTS = {
    "action": {"timeout": "5s", "retry": _RETRY},
    "compensation": {"timeout": "5s", "retry": {**_RETRY, "within": "10s"}},
}
#: Kinds of step that may stand where the pivot does not.
_KINDS = ("action", "action", "action", "worker", "saga", "wait", "signal", "fail")


@st.composite
def definitions(draw: st.DrawFn, *, largest: int = 7) -> SagaDefinition:
    """Return a definition: a graph of up to so many steps of every kind, with or without a pivot."""
    size = draw(st.integers(1, largest))
    pivot = draw(st.one_of(st.none(), st.integers(0, size - 1)))
    steps = [_step(draw, at, pivot) for at in range(size)]
    services: dict[str, Any] = {"s": {"url": "http://127.0.0.1:1"}}
    if draw(st.integers(0, 3)) == 0:
        services["s"]["key_lifetime"] = "3s"
    document = {"name": "generated", "services": services, "defaults": _DEFAULTS, "steps": steps}
    for name, spans in (("timeout", ["2s", "1m"]), ("due", ["1s", "30s"])):
        if draw(st.booleans()):
            document[name] = draw(st.sampled_from(spans))
    return parse_definition(document).definition


def _name(at: int) -> str:
    return f"s{at}"


def _step(draw: st.DrawFn, at: int, pivot: int | None) -> dict[str, Any]:
    made: dict[str, Any] = {"name": _name(at), "after": _after(draw, at, pivot)}
    if at == pivot:
        made["pivot"] = True
    kind = draw(st.sampled_from(("action", "action", "worker") if at == pivot else _KINDS))
    made |= _work(draw, at, kind)
    before = pivot is None or at <= pivot
    if kind in ("action", "worker") and before:
        made["compensation"] = draw(st.sampled_from(("none", _undo(at), _undo(at), _by_worker(), _unmade())))
    if at != pivot:
        made |= _manner(draw)
    return made


def _after(draw: st.DrawFn, at: int, pivot: int | None) -> list[str]:
    """Return what a step waits for; all stand either upstream or downstream of the pivot."""
    if at == pivot:
        return [_name(each) for each in range(at)]
    first = 0 if pivot is None or at < pivot else pivot
    chosen = draw(st.sets(st.integers(first, at - 1), max_size=3)) if at > first else set()
    if first == pivot and pivot is not None and at > pivot:
        chosen |= {pivot}
    return [_name(each) for each in sorted(chosen)]


def _work(draw: st.DrawFn, at: int, kind: str) -> dict[str, Any]:
    if kind == "action":
        pending = {"timeout": draw(st.sampled_from(["2s", "20s"])), "poll": "1s"}
        body = {"id": "${key}"} | draw(st.sampled_from([{}, {}, {}, {"lacks": "${input.absent}"}]))
        return {"action": call(f"/s{at}", body=body, pending=pending, on_status={"402": "refused"})}
    if kind == "worker":
        return {"worker": {"queue": "q", "input": {"id": "${key}"}}}
    if kind == "saga":
        return {"saga": {"name": "child", "version": 1, "input": {"id": "${key}"}}}
    if kind == "wait":
        return {"wait": draw(st.sampled_from(["1s", "10s", "${input.absent}"]))}
    if kind == "signal":
        timeout = draw(st.sampled_from([{}, {"timeout": "3s"}]))
        return {"signal": {"name": "approval", "refused_when": "${response.body.no}"} | timeout}
    return {"fail": "never"}


def _undo(at: int) -> dict[str, Any]:
    return {"method": "DELETE", "service": "s", "path": f"/s{at}/${{key}}", "pending": {"timeout": "2s"}}


def _unmade() -> dict[str, Any]:
    """Return a compensation that cannot be made, which shows only when it is due."""
    return {"service": "s", "path": "/${input.absent}"}


def _by_worker() -> dict[str, Any]:
    return {"worker": {"queue": "q", "input": {"id": "${key}"}}}


def _manner(draw: st.DrawFn) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if draw(st.integers(0, 4)) == 0:
        made["on_refused"] = "continue"
    if draw(st.integers(0, 4)) == 0:
        made["when"] = draw(st.sampled_from(["${input.yes}", "${input.no}"]))
    if draw(st.integers(0, 3)) == 0:
        items = draw(st.sampled_from(["${input.items}", "${input.items}", "${input.none}", "${input.yes}"]))
        made |= {"for_each": items, "max_parallel": 2}
    if draw(st.integers(0, 6)) == 0:
        made["due"] = "1s"
    return made


#: The input every generated saga is started with.
INPUT = {"yes": True, "no": False, "items": ["a", "b", "c"], "none": []}
