"""A journal entry as a sentence a person reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from saga.cli.output import clean, clock, moment

Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """What an entry says."""

    #: One character: where it goes.
    mark: str
    text: str
    colour: str | None = None


def tell(entry: Entry) -> Told:
    """Return what an entry says; of a kind that is not known here, its name and detail."""
    if "raw" in entry:
        return Told("!", clean(f"{_kind(entry)}, an entry that cannot be read"), "red")
    mark, colour, text = _KINDS.get(str(entry.get("kind")), _UNKNOWN)
    said = text(entry) if callable(text) else text
    detail = _detail(entry)
    return Told(mark, clean(f"{said}: {detail}" if detail else said), colour)


def _detail(entry: Entry) -> str | None:
    if entry.get("kind") == "turned_backward" and entry.get("step"):
        return None  # the step's own entry has said it
    return entry.get("detail") or entry.get("reason")


def sentence(entry: Entry) -> str:
    """Return an entry as one line, its time first."""
    told = tell(entry)
    about = clean(entry.get("step") or "saga")
    return f"{clock(entry.get('at'))}  {told.mark} {about}: {told.text}"


def _attempt(entry: Entry) -> str:
    phase, attempt = entry.get("phase"), entry.get("attempt")
    return f"{phase}, attempt {attempt}"


def _invoked(entry: Entry) -> str:
    again = f", attempt {entry['attempt']}" if entry.get("attempt", 1) > 1 else ""
    return f"{entry.get('phase')} sent{again}"


def _tried(word: str) -> Callable[[Entry], str]:
    def text(entry: Entry) -> str:
        due = entry.get("next_at")
        return f"{_attempt(entry)} {word}" + (f", next at {clock(due)}" if due else "")

    return text


def _by(word: str) -> Callable[[Entry], str]:
    def text(entry: Entry) -> str:
        return f"{word} by {entry['by']}" if entry.get("by") else word

    return text


def _skipped(entry: Entry) -> str:
    return f"{entry.get('phase')} skipped"


def _resolved(entry: Entry) -> str:
    return f"{entry.get('phase')} resolved as {entry.get('outcome')}"


def _kind(entry: Entry) -> str:
    return str(entry.get("kind", "something")).replace("_", " ")


_Row = tuple[str, str | None, str | Callable[[Entry], str]]
_UNKNOWN: _Row = ("·", None, _kind)
_KINDS: Mapping[str, _Row] = {
    "saga_started": (
        "●",
        None,
        lambda entry: f"started, {entry.get('definition')} version {entry.get('version')}",
    ),
    "turned_backward": ("◀", "yellow", lambda entry: f"goes backward, {entry.get('cause')}"),
    "saga_parked": ("■", "red", lambda entry: f"parked, {entry.get('cause')}"),
    "saga_marked_late": ("!", "red", "late"),
    "saga_completed": ("●", "green", "completed"),
    "saga_compensated": ("●", "cyan", "compensated"),
    "saga_abandoned": ("■", "red", _by("abandoned")),
    "saga_reopened": ("◀", "yellow", _by("reopened")),
    "saga_paused": ("‖", "yellow", _by("paused")),
    "saga_resumed": ("▶", None, _by("resumed")),
    "saga_cancelled": ("◀", "yellow", _by("cancelled")),
    "retry_commanded": ("▶", None, _by("retry")),
    "skip_commanded": ("»", None, _skipped),
    "resolve_commanded": ("»", None, _resolved),
    "command_unchanged": ("·", None, lambda entry: f"{entry.get('command')} changed nothing"),
    "command_refused": ("·", "yellow", lambda entry: f"{entry.get('command')} refused, {entry.get('type')}"),
    "invoked": ("→", None, _invoked),
    "withdrawn": ("·", None, lambda entry: f"{_attempt(entry)} was not sent"),
    "attempt_not_executed": ("✗", "yellow", _tried("not executed")),
    "attempt_uncertain": ("?", "magenta", _tried("uncertain")),
    "attempt_refused": ("✗", "red", _tried("refused")),
    "attempt_pending": ("…", "yellow", _tried("accepted, outcome follows")),
    "attempt_deferred": ("…", "yellow", _tried("too early")),
    "late_answer": ("·", None, lambda entry: f"late answer, {entry.get('outcome')}"),
    "step_skipped": ("»", None, "skipped"),
    "step_expanded": ("·", None, lambda entry: f"{entry.get('count', 0)} instances"),
    "step_succeeded": ("✓", "green", "succeeded"),
    "step_refused": ("✗", "red", "refused"),
    "step_uncertain": ("?", "magenta", "uncertain"),
    "step_parked": ("■", "red", "waits for a person"),
    "compensation_undone": ("↩", "cyan", "undone"),
    "compensation_failed": ("■", "red", "compensation failed"),
    "wait_began": ("…", "yellow", lambda entry: f"waits until {moment(entry.get('until'))}"),
    "signal_awaited": ("…", "yellow", "waits for its signal"),
    "signal_received": ("·", None, lambda entry: f"signal {entry.get('name')} came"),
    "child_started": ("→", None, lambda entry: f"child {entry.get('child')}"),
    "task_taken": ("·", None, lambda entry: f"taken by {entry.get('worker')}"),
    "task_extended": ("·", None, "lease extended"),
}
