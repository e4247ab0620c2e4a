"""The judge: what the participants' ledgers say against what was promised.

It imports neither the coordinator nor the example. Whether a booking is there or undone is read from the
participants' effects alone; the journal is then held against them. Each rule is a function of one saga and yields
what is wrong with it, in words.

Order across participants is sound because every process of a machine reads the same monotonic clock: a participant
reads it *before* it answers, so a request that was sent because of that answer *arrives* later. A rule compares
the moment at which one participant decided with the moment at which another was asked, and never two decisions.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.campaign.evidence import Case, Evidence, Row, seconds

_END_KINDS = {
    "saga_completed": "completed",
    "saga_compensated": "compensated",
    "saga_abandoned": "abandoned",
    "saga_parked": "parked",
}
#: Entries that may follow an end: they change no status.
_AFTER_THE_END = {"late_answer", "command_refused", "command_unchanged", "saga_marked_late"}
#: Journals show milliseconds; two times may differ by so many seconds more than they say.
CLOCK_STEP = 0.002
#: Faults by which a participant stops a saga for good, so that only a person can help.
_FOR_GOOD = {"refuse", "stubborn", "turn_away"}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is not as it was promised."""

    rule: str
    saga: str
    text: str

    def __str__(self) -> str:
        return f"{self.saga}: {self.text} [{self.rule}]"


def judge(evidence: Evidence) -> list[Finding]:
    """Return everything that is not as it was promised."""
    findings = list(_missing(evidence))
    for case in evidence.cases():
        for rule in RULES:
            findings += [Finding(rule=rule.__name__, saga=case.id, text=text) for text in rule(case)]
    findings += _told_otherwise(evidence)
    return findings


# --------------------------------------------------------------------------- across sagas


def _missing(evidence: Evidence) -> Iterator[Finding]:
    """Look for starts that were acknowledged, and for sagas of which participants have heard."""
    known = {saga["id"] for saga in evidence.sagas}
    for key, saga in evidence.accepted.items():
        if saga not in known:
            yield Finding(
                rule="acknowledged", saga=saga, text=f"the start {key} was acknowledged, and is lost"
            )
    for saga in {row["saga"] for row in evidence.deliveries} - known:
        yield Finding(rule="acknowledged", saga=str(saga), text="participants served it, and nobody knows it")
    twice = defaultdict(set)
    for key, saga in evidence.accepted.items():
        twice[saga].add(key)
    for saga, keys in twice.items():
        if len(keys) > 1:
            yield Finding(
                rule="acknowledged", saga=saga, text=f"it was given to several starts: {sorted(keys)}"
            )


def _told_otherwise(evidence: Evidence) -> Iterator[Finding]:
    """Hold the coordinator to what its clients were told."""
    now = {saga["id"]: saga["status"] for saga in evidence.sagas}
    for saga, status in evidence.told.items():
        if now.get(saga) != status:
            yield Finding(
                rule="told", saga=saga, text=f"a client was told {status}, and now it is {now.get(saga)}"
            )
    for saga in evidence.cancelled:
        if now.get(saga) == "completed":
            yield Finding(rule="told", saga=saga, text="its cancel was answered 200, and it completed")


# --------------------------------------------------------------------------- whole, or wholly undone


def ended(case: Case) -> Iterator[str]:
    """See that it has ended: completed, compensated, or parked for a person."""
    if case.status not in ("completed", "compensated", "parked"):
        yield f"at the end of all it is {case.status}"


def whole(case: Case) -> Iterator[str]:
    """See that a booking is wholly there, or wholly undone."""
    if case.status == "completed":
        if missing := case.wanted - case.standing:
            yield f"it is completed without {_names(missing)}"
        if surplus := case.standing - case.wanted:
            yield f"it is completed with {_names(surplus)}, which nobody wanted"
    if case.status == "compensated" and case.standing:
        yield f"it is compensated, and {_names(case.standing)} still stands"


def parked_with_reason(case: Case) -> Iterator[str]:
    """See that it is parked only where a participant said no for good, and leaves no more undone than it must."""
    if case.status != "parked":
        return
    parked = (case.entries("saga_parked") or [{}])[-1]
    step, phase = parked.get("step"), parked.get("phase")
    faults = {fault for row in case.deliveries_of(step or "", phase or "") for fault in row["faults"]}
    if not faults & _FOR_GOOD:
        yield f"it is parked over {step}:{phase} ({parked.get('cause')}), where nobody said no for good"
    elif phase == "compensation":
        held_back = case.plan.upstream[str(step)] | {step}
        if left := case.standing - held_back:
            yield f"it is parked over the undoing of {step}, and {_names(left)} stands for no reason"
    elif missing := case.wanted - case.standing - {step}:
        yield f"it is parked after the pivot over {step}, and {_names(missing)} is not there"


def once(case: Case) -> Iterator[str]:
    """See that no key takes effect twice, and that no step has two keys to do so."""
    for key, rows in _grouped(case.effects, "key").items():
        if len(rows) > 1:
            yield f"{key} took effect {len(rows)} times"
    keys = {(row["step"], row["phase"], row["key"]) for row in case.deliveries}
    for (step, phase), count in Counter((step, phase) for step, phase, _ in keys).items():
        if count > 1:
            yield f"{step}:{phase} was sent under {count} keys"


# --------------------------------------------------------------------------- order


def undone_in_reverse(case: Case) -> Iterator[str]:
    """See that when a step's undoing begins everything downstream of it is undone, and stays so."""
    for step in case.plan.steps:
        begun = min((row["at"] for row in case.deliveries_of(step.name, "compensation")), default=None)
        if begun is None:
            continue
        for later in case.plan.steps:
            if step.name not in case.plan.upstream[later.name]:
                continue
            undone = min((row["at"] for row in case.effects_of(later.name, "compensation")), default=None)
            if case.effects_of(later.name, "action") and (undone is None or undone > begun):
                yield f"the undoing of {step.name} was asked for while {later.name} stood"


def done_in_order(case: Case) -> Iterator[str]:
    """See that a step is asked for only when everything it comes after is done."""
    for step in case.plan.steps:
        asked = min((row["at"] for row in case.deliveries_of(step.name, "action")), default=None)
        if asked is None:
            continue
        for name in case.plan.upstream[step.name] & case.wanted:
            done = min((row["at"] for row in case.effects_of(name, "action")), default=None)
            if done is None or done > asked:
                yield f"{step.name} was asked for before {name} was done"


def undone_when_quiet(case: Case) -> Iterator[str]:
    """See that a call left open by a dead coordinator has had its whole time before it is undone."""
    timeouts = {
        (entry["step"], entry["attempt"]): entry["timeout"]
        for entry in case.entries("invoked")
        if entry["phase"] == "action"
    }
    for lost in _lost(case):
        quiet = seconds(lost["at"]) + timeouts.get((lost["step"], lost["attempt"]), 0.0)
        undoing = [seconds(entry["at"]) for entry in _undoings(case, lost["step"])]
        if lost["phase"] == "action" and undoing and min(undoing) < quiet - CLOCK_STEP:
            yield f"the undoing of {lost['step']} was sent while an attempt of it might still be under way"


def _lost(case: Case) -> list[Row]:
    return [entry for entry in case.entries("attempt_uncertain") if entry.get("lost")]


def _undoings(case: Case, step: str) -> list[Row]:
    return [
        entry
        for entry in case.entries("invoked")
        if (entry["step"], entry["phase"]) == (step, "compensation")
    ]


def pivot_is_final(case: Case) -> Iterator[str]:
    """See that nothing is undone once the pivot is known to have succeeded."""
    passed = [entry for entry in case.entries("step_succeeded") if entry["step"] == case.plan.pivot]
    undoing = [row for row in case.deliveries if row["phase"] == "compensation"]
    if passed and undoing:
        yield f"{undoing[0]['step']} was to be undone, though {case.plan.pivot} had succeeded"


# --------------------------------------------------------------------------- the wire


def same_bytes(case: Case) -> Iterator[str]:
    """See that every attempt under one key carries the same bytes."""
    for key, rows in _grouped(case.deliveries, "key").items():
        if len({row["digest"] for row in rows}) > 1:
            yield f"{key} was sent with different bytes"


def fences_never_fall(case: Case) -> Iterator[str]:
    """See that the fence a participant sees of a saga never falls."""
    for service, rows in _grouped(case.deliveries, "service").items():
        fences = [row["fence"] for row in rows]
        if None in fences:
            yield f"{service} was sent no fence"
        elif fences != sorted(fences):
            yield f"{service} saw the fences {fences}"


def fences_rise_at_takeover(case: Case) -> Iterator[str]:
    """See that what the next coordinator sends carries a higher fence than what a dead one left open."""
    for lost in _lost(case):
        rows = case.deliveries_of(lost["step"], lost["phase"])
        before = [row["fence"] for row in rows if row["attempt"] <= lost["attempt"]]
        after = [row["fence"] for row in rows if row["attempt"] > lost["attempt"]]
        if before and after and min(after) <= max(before):
            yield f"the fence of {lost['step']}:{lost['phase']} did not rise after attempt {lost['attempt']}"


def every_request_is_an_intent(case: Case) -> Iterator[str]:
    """See that every request is an intent, sent once, and that a step is undone only if it was invoked."""
    intents = {(entry["step"], entry["phase"], entry["attempt"]) for entry in case.entries("invoked")}
    deferred = {
        (entry["step"], entry["phase"], entry["attempt"]) for entry in case.entries("attempt_deferred")
    }
    seen = set()
    for row in case.deliveries:
        sent = (row["step"], row["phase"], row["attempt"])
        if sent not in intents:
            yield f"attempt {sent[2]} of {sent[0]}:{sent[1]} was sent, and the journal does not know it"
        if sent in seen and sent not in deferred:
            yield f"attempt {sent[2]} of {sent[0]}:{sent[1]} was sent twice"
        seen.add(sent)
    for name, phase, _ in intents:
        if phase == "compensation" and (name, "action", 1) not in intents:
            yield f"{name} was to be undone, and had never been invoked"


# --------------------------------------------------------------------------- the journal against the ledgers


def journal_is_whole(case: Case) -> Iterator[str]:
    """See that the journal has every number, one end, nothing that counts after it, and the status that is shown."""
    if [entry["seq"] for entry in case.journal] != list(range(1, len(case.journal) + 1)) or not case.journal:
        yield "its journal has gaps"
        return
    ends = [place for place, entry in enumerate(case.journal) if entry["kind"] in _END_KINDS]
    if not ends:
        yield "its journal has no end"
        return
    after = {entry["kind"] for entry in case.journal[ends[0] + 1 :]} - _AFTER_THE_END
    if case.journal[ends[0]]["kind"] != "saga_parked" and after:
        yield f"after its end came {_names(frozenset(after))}"
    said = _END_KINDS[case.journal[ends[-1]]["kind"]]
    if said != case.status:
        yield f"its journal says {said}, and the API says {case.status}"


def journal_agrees(case: Case) -> Iterator[str]:
    """See that what the journal holds for certain is so in the ledgers."""
    for entry in case.entries("step_succeeded"):
        if not case.effects_of(entry["step"], "action"):
            yield f"the journal has {entry['step']} succeeded, and it never took effect"
    for entry in case.entries("step_refused"):
        if case.effects_of(entry["step"], "action"):
            yield f"the journal has {entry['step']} refused, and it took effect"
    for entry in case.entries("compensation_undone"):
        answers = [row["status"] for row in case.deliveries_of(entry["step"], "compensation")]
        if not {200, 204, 404, 410} & set(answers):
            yield f"the journal has {entry['step']} undone, and the participant never said so: {answers}"


def callbacks_stand(case: Case) -> Iterator[str]:
    """See that an outcome called back and confirmed is in the journal."""
    for row in case.deliveries:
        if row.get("heard") != 200:
            continue
        kinds = {entry["kind"] for entry in case.journal if entry.get("step") == row["step"]}
        wanted = {"step_succeeded"} if row["said"] == "DONE" else {"step_refused", "attempt_refused"}
        if not kinds & wanted:
            yield f"{row['step']} called back {row['said']} and was told it is recorded; the journal lacks it"


RULES: tuple[Callable[[Case], Iterator[str]], ...] = (
    ended,
    whole,
    parked_with_reason,
    once,
    undone_in_reverse,
    undone_when_quiet,
    done_in_order,
    pivot_is_final,
    same_bytes,
    fences_never_fall,
    fences_rise_at_takeover,
    every_request_is_an_intent,
    journal_is_whole,
    journal_agrees,
    callbacks_stand,
)


def _grouped(rows: object, name: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:  # type: ignore[attr-defined]
        found[row[name]].append(row)
    return found


def _names(steps: frozenset[str]) -> str:
    return ", ".join(sorted(steps))
