"""The definitions of all worlds. Another shape is another row of :data:`SHAPES`."""

from __future__ import annotations

from functools import cache
from typing import Any

from saga.catalogue import stored_form
from saga.definition import SagaDefinition
from saga.ports.stored import StoredDefinition
from tests.driver import defined, step

_RETRY = {"attempts": 3, "initial": "100ms", "max": "1s"}
#: Everything is short, so that a world ends soon.
DEFAULTS = {
    "action": {"timeout": "2s", "retry": _RETRY},
    "compensation": {"timeout": "2s", "retry": {**_RETRY, "attempts": 8, "within": "30s"}},
}
_NO = {"402": "refused"}
_PENDING = {"timeout": "5s", "poll": "700ms"}


def _call(path: str, **members: Any) -> dict[str, Any]:
    body = {"id": "${key}", "of": "${input}"}
    return {"service": "s", "path": path, "body": body, "on_status": _NO, "pending": _PENDING, **members}


def _step(name: str, after: list[str] | None = None, **members: Any) -> dict[str, Any]:
    """Return a step with an action and a compensation, unless it says otherwise."""
    action = _call(f"/{name}", **members.pop("call", {}))
    if members.pop("undone", True):
        members = {"compensation": _call(f"/{name}/undo", on_status={}), **members}
    else:
        members = {"no_undo": True, **members}
    return step(name, after, action=action, **members)


def _shape(name: str, *steps: dict[str, Any], **members: Any) -> SagaDefinition:
    return defined(*steps, **{"name": name, "defaults": DEFAULTS, **members})


_OUTPUT = {"body": {"of": "${steps.a.output.of || 'nothing'}"}}

_ALL = (
    _shape("chain", _step("a"), _step("b", call=_OUTPUT), _step("c")),
    _shape("diamond", _step("a"), _step("b", ["a"]), _step("c", ["a"]), _step("d", ["b", "c"])),
    _shape("pivot", _step("a"), _step("b", []), _step("p", ["a", "b"], pivot=True), _step("e", undone=False)),
    _shape("hard_pivot", _step("a"), _step("p", pivot=True, compensation="none"), _step("e", undone=False)),
    _shape("tail", _step("p", pivot=True), _step("e", undone=False), _step("f", ["p"], undone=False)),
    _shape(
        "tolerant",
        _step("a"),
        _step("b", ["a"], on_refused="continue"),
        _step("c", ["a"], compensation="none"),
        _step("d", ["b", "c"]),
    ),
    _shape("hasty", _step("a"), _step("b"), _step("c"), timeout="2s"),
    _shape(
        "hasty_pivot", _step("a"), _step("p", pivot=True), _step("e", undone=False), timeout="3s", due="1s"
    ),
    _shape(
        "stubborn",
        _step("a", compensation=_call("/a/undo")),
        _step("b", []),
        _step("c", ["a", "b"]),
        _step("d"),
    ),
    _shape("optional", _step("a"), _step("b", when="${input.b}"), _step("c")),
    _shape("waits", _step("a"), step("w", wait="7s"), _step("c")),
    _shape("signal", _step("a"), step("g", signal={"name": "go", "timeout": "9s"}), _step("c")),
    _shape("fails", _step("a"), _step("b", []), step("f", ["a", "b"], fail="no", when="${input.b}")),
    _shape("each", _step("a"), _step("b", for_each="${input.items}", max_parallel=2), _step("c")),
)
SHAPES = {shape.name: shape for shape in _ALL}


@cache
def stored() -> list[tuple[str, bytes, SagaDefinition]]:
    """Return every definition as it is stored, and as it is parsed from that."""
    return [(name, stored_form(made), made) for name, made in SHAPES.items()]


def version(name: str, document: bytes) -> StoredDefinition:
    """Return the first version of a definition."""
    return StoredDefinition(name=name, version=1, document=document, created_at=0.0)
