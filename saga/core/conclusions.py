"""How an invocation ends: the entries of a success, of a no, and of doubt that stays.

Where the step stands to the pivot says what follows: before it a no is refused and doubt is undone, after it
whatever is in the way is parked.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic_core import to_json

from saga.core import entries as e
from saga.core.case import Case
from saga.core.entries import Entry
from saga.core.entries.base import Cause
from saga.core.requests import scope
from saga.language.expressions import evaluate_members

#: Bytes the stored output of a step may have, as JSON.
OUTPUT_LIMIT = 256 * 1024


def step_output(it: Case, response: dict[str, Any]) -> tuple[Any, tuple[str, ...]]:
    """Return the step's output by its template (absent: the whole body) and the pointers of what was missing."""
    if not it.step.has_output:
        return response["body"], ()
    roots = scope(it.definition, it.state, it.unit) | {"response": response}
    return evaluate_members(it.step.output, roots)


def success(
    it: Case,
    output: Any,
    missing: tuple[str, ...],
    at: float,
    *,
    attempt: int | None = None,
    callback: str | None = None,
    signal: str | None = None,
) -> tuple[Entry, ...]:
    """Return the entries of a step that succeeded with that output."""
    size = len(to_json(output))
    oversized = size > OUTPUT_LIMIT
    done = e.StepSucceeded(
        at=at,
        step=it.unit,
        attempt=attempt,
        output=None if oversized else output,
        missing=() if oversized else missing,
        oversized=oversized,
        callback=callback,
        signal=signal,
        size=0 if oversized else size,
    )
    if not oversized or it.position == "before" or it.state.direction == "backward":
        return (done,)
    detail = f"its output has {size} bytes, more than {OUTPUT_LIMIT}"
    return done, e.StepParked(at=at, step=it.unit, status="succeeded", cause="size", detail=detail)


def conclusion(it: Case, at: float, cause: Cause, detail: str, *, doubt: bool) -> Entry:
    """Return the entry that ends an invocation without success."""
    if it.phase == "compensation":
        return e.CompensationFailed(at=at, step=it.unit, cause=cause, detail=detail)
    if doubt and cause in ("refused", "unreachable"):
        cause = "uncertain"
    if not doubt and (it.position != "after" or it.tolerant):
        return e.StepRefused(at=at, step=it.unit, cause=cause, detail=detail, tolerated=it.tolerant)
    undone = it.position == "before" or (it.position == "pivot" and it.step.compensatable)
    if undone or it.state.direction == "backward":
        return e.StepUncertain(at=at, step=it.unit, cause=cause, detail=detail)
    status: Literal["refused", "uncertain"] = "uncertain" if doubt else "refused"
    return e.StepParked(at=at, step=it.unit, status=status, cause=cause, detail=detail)


def refusal(it: Case, at: float, cause: Cause, detail: str, *, signal: str | None = None) -> Entry:
    """Return the entry for a step that is refused without having been sent: after the pivot it is parked."""
    if it.position == "after" and not (it.tolerant and cause in _TOLERABLE):
        return e.StepParked(at=at, step=it.unit, status="refused", cause=cause, detail=detail, signal=signal)
    return e.StepRefused(
        at=at, step=it.unit, cause=cause, detail=detail, tolerated=it.tolerant, signal=signal
    )


#: Refusals that ``on_refused: continue`` tolerates: all that are certain.
_TOLERABLE: frozenset[Cause] = frozenset(
    {"refused", "unreachable", "template", "size", "child", "signal-timeout"}
)
