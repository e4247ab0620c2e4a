"""What the contract says of a command, told from what the API shows of the saga: not from how it is decided."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

ENDED = ("completed", "compensated", "abandoned")
#: A command that is in effect, or comes into effect.
DONE = "done"

#: Where a saga may be after it was there, whatever happened in between.
MAY_BECOME = {
    "running": {"running", "compensating", "paused", "parked", *ENDED},
    "compensating": {"compensating", "paused", "parked", "compensated", "abandoned"},
    "paused": {"running", "compensating", "paused", "parked", *ENDED},
    "parked": {"running", "compensating", "paused", "parked", *ENDED},
    "completed": {"completed"},
    "compensated": {"compensated"},
    "abandoned": {"abandoned"},
}


def expected(
    command: str, body: dict[str, Any], saga: Any, journal: Iterable[Any], pivot: str | None
) -> set[str]:
    """Return what a command may be answered: done, or a type of problem."""
    steps = {step["name"]: step for step in saga["steps"]}
    step = steps.get(body.get("step", ""))
    if step is None and "step" in body and not (command == "retry" and saga["status"] in ENDED):
        return {"step-unknown"}
    if command in ("pause", "resume", "abandon", "cancel"):
        return _on_saga(command, saga, journal, steps.get(pivot or ""))
    if command == "retry":
        return _retry(saga, step, steps.values())
    assert step is not None
    return _skip(saga, step, pivot, steps) if command == "skip" else _resolve(saga, step, body["outcome"])


def _on_saga(command: str, saga: Any, journal: Iterable[Any], pivot: Any) -> set[str]:
    status = saga["status"]
    if command == "cancel":
        return _cancel(saga, journal, pivot)
    if status in ENDED:
        return {DONE} if (command, status) == ("abandon", "abandoned") else {"saga-ended"}
    return {"saga-parked"} if status == "parked" and command != "abandon" else {DONE}


def _cancel(saga: Any, journal: Iterable[Any], pivot: Any) -> set[str]:
    if saga["direction"] == "backward":
        return {DONE}
    if pivot is not None and pivot["status"] in ("succeeded", "skipped"):
        return {"pivot-passed"}
    if saga["status"] in ENDED:
        return {"saga-ended"}
    return _while_invoked(pivot["name"], journal) if pivot is not None else {DONE}


def _while_invoked(pivot: str, journal: Iterable[Any]) -> set[str]:
    """Return what cancel may be answered before the pivot is done: open, promised or in doubt it is refused."""
    told = [
        entry for entry in journal if entry.get("step") == pivot and entry.get("phase", "action") == "action"
    ]
    if any(entry["kind"] == "attempt_uncertain" for entry in told):
        return {"pivot-invoked"}
    last = told[-1]["kind"] if told else None
    if last == "attempt_deferred":
        return {DONE, "pivot-invoked"}
    return {"pivot-invoked"} if last in ("invoked", "attempt_pending") else {DONE}


def _retry(saga: Any, step: Any, steps: Iterable[Any]) -> set[str]:
    if saga["status"] in ENDED:
        return {"saga-ended"}
    if saga["status"] == "paused":
        return {"saga-paused"}
    error = saga["error"] or {}
    if saga["status"] == "parked" and error["kind"] == "internal":
        return {DONE}
    wanted = [step] if step is not None else list(steps)
    if (
        saga["status"] == "parked"
        and error["kind"] != "size"
        and error["step"] in [each["name"] for each in wanted]
    ):
        return {DONE}
    if any(_waits(saga, each) for each in wanted):
        return {DONE}
    return {DONE, "nothing-to-retry"}


def _waits(saga: Any, step: Any) -> bool:
    """Return whether the step waits for its next attempt."""
    if step["next_attempt_at"] is None:
        return False
    if saga["direction"] == "forward":
        return bool(step["status"] == "waiting")
    return step["compensation"] is not None and step["compensation"]["status"] == "waiting"


def _skip(saga: Any, step: Any, pivot: str | None, steps: dict[str, Any]) -> set[str]:
    undo = (step["compensation"] or {}).get("status")
    if "skipped" in (step["status"], undo):
        return {DONE}
    if saga["status"] in ENDED:
        return {"saga-ended"}
    if undo == "failed":
        return {DONE}
    if saga["direction"] == "backward" or step["status"] in ("invoking", "waiting"):
        return {"not-skippable"}
    if step["status"] == "pending":
        return {"pivot"} if step["name"] == pivot else {DONE}
    names = list(steps)
    after = pivot is not None and names.index(step["name"]) > names.index(pivot)
    return {DONE, "not-skippable"} if after else {"not-skippable"}


def _resolve(saga: Any, step: Any, outcome: str) -> set[str]:
    undo = (step["compensation"] or {}).get("status")
    ended = saga["status"] in ENDED
    if outcome == "undone":
        return _resolve_undo(undo, ended=ended)
    if undo == "failed" and not ended:
        return {"not-parked"}
    if step["status"] == outcome:
        return {DONE}
    return {"saga-ended"} if ended else _resolve_action(saga, step)


def _resolve_undo(undo: str | None, *, ended: bool) -> set[str]:
    if undo in ("resolved", "undone"):
        return {DONE}
    if ended:
        return {"saga-ended"}
    return {DONE} if undo == "failed" else {"not-parked"}


def _resolve_action(saga: Any, step: Any) -> set[str]:
    if saga["direction"] == "backward" or step["status"] in ("invoking", "waiting", "skipped"):
        return {"not-parked"}
    error = saga["error"] or {}
    if saga["status"] == "parked" and error["step"] == step["name"] and step["status"] != "succeeded":
        return {DONE}
    return {DONE, "not-parked", "not-refused"}


def told(saga: Any, step: Any, phase: str, outcome: str) -> set[int]:
    """Return what a callback may be answered that says something for the first time."""
    status = step["status"] if phase == "action" else (step["compensation"] or {}).get("status")
    if status in ("succeeded", "undone"):
        # A success stands; another one, with another output, is told so.
        return {200, 409} if outcome == "succeeded" else {409}
    if status in ("skipped", "resolved", "uncertain") and saga["status"] in ENDED:
        return {410}
    return {200, 409, 410}
