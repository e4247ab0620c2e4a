"""Normalising: writing out every default, so that a later release's defaults change nothing that is stored.

Works on documents (JSON), because that is what is compared and stored. Total over any document of the right
shape, whether its parts fit together or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from saga.language.graph import Graph

_Document: TypeAlias = dict[str, Any]

#: What calls take that say nothing, when the definition's own ``defaults`` say nothing either.
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "action": {
        "timeout": "10s",
        "retry": {"attempts": 4, "initial": "200ms", "factor": 2, "max": "10s", "within": "unlimited"},
    },
    "compensation": {
        "timeout": "10s",
        "retry": {"attempts": 12, "initial": "500ms", "factor": 2, "max": "5m", "within": "24h"},
    },
}
_PENDING = {"timeout": "15m", "poll": "10s"}
_CALL = {"method": "POST", "path": "", "accept": "json"}


def write_out(document: Mapping[str, Any]) -> _Document:
    """Return the document with every default written out; of a normalised document an equal one.

    What is absent and has no default stays absent.
    """
    defaults = _defaults(document.get("defaults", {}))
    steps = _with_after(document.get("steps", []))
    retriable = _after_pivot(steps)
    written = {**document, "defaults": defaults}
    written["steps"] = [_step(step, defaults, retriable=step.get("name") in retriable) for step in steps]
    return written


def _defaults(given: Mapping[str, Any]) -> _Document:
    return {phase: _policy(given.get(phase, {}), base) for phase, base in DEFAULTS.items()}


def _policy(given: Mapping[str, Any], base: Mapping[str, Any]) -> _Document:
    """Return timeout and retry, each taken from the base as far as it is not given."""
    retry = {**base["retry"], **given.get("retry", {})}
    return {"timeout": given.get("timeout", base["timeout"]), "retry": retry}


def _with_after(steps: list[_Document]) -> list[_Document]:
    above: list[str] = []
    written = []
    for step in steps:
        after = step.get("after", above)
        written.append({**step, "after": list(dict.fromkeys(after))})
        above = [step["name"]] if "name" in step else []
    return written


def _after_pivot(steps: list[_Document]) -> frozenset[str]:
    graph = Graph.of([(step["name"], step["after"]) for step in steps if "name" in step])
    pivot = next((step["name"] for step in steps if step.get("pivot") and "name" in step), None)
    return graph.downstream(pivot) if pivot is not None else frozenset()


def _step(step: _Document, defaults: _Document, *, retriable: bool) -> _Document:
    base = {**defaults["action"], "retry": defaults["compensation" if retriable else "action"]["retry"]}
    written = {**step, "on_refused": step.get("on_refused", "compensate")}
    if "for_each" in step:
        written["max_parallel"] = step.get("max_parallel", 10)
    if "action" in step:
        written["action"] = _call(step["action"], base)
    if "worker" in step:
        written["worker"] = {**step["worker"], **_policy(step["worker"], base)}
    if "compensation" in step:
        written["compensation"] = _compensation(step, defaults["compensation"])
    return written


def _call(call: _Document, base: Mapping[str, Any]) -> _Document:
    pending = {**_PENDING, **call.get("pending", {})}
    return {**_CALL, **call, **_policy(call, base), "pending": pending}


def _compensation(step: _Document, base: Mapping[str, Any]) -> Any:
    given = step["compensation"]
    if given == "none":
        return given
    if "worker" in given:
        return {"worker": {**given["worker"], **_policy(given["worker"], base)}}
    if "service" not in given and "url" not in given:
        action = step.get("action", {})
        given = {**{name: action[name] for name in ("service", "url") if name in action}, **given}
    return _call(given, base)
