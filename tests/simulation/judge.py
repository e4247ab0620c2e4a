"""The judge: what participants' ledgers, the wire and the journals say against what was promised.

Each rule is a function of one saga (or of the world) that yields what is wrong, in words. Another rule is another
function in :data:`RULES`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from saga.core import entries as e
from saga.core.encoding import decode, encode
from saga.core.entries import Entry
from saga.core.journal import evolve, replay
from saga.core.state import SagaState, step_name
from saga.core.statuses import Status, StepStatus, UndoStatus
from saga.language.model import SagaDefinition
from saga.stores.memory_rows import KeptSaga
from tests.invariants import check_entry
from tests.simulation.ledger import Effect
from tests.simulation.shapes import SHAPES
from tests.simulation.wire import Sent
from tests.simulation.world import AT_REST, World


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One saga and all that is known of it."""

    saga: KeptSaga
    definition: SagaDefinition
    journal: list[Entry]
    #: State after each entry.
    states: list[SagaState]
    sent: list[Sent]
    effects: list[Effect]
    told: list[SagaState]

    @property
    def state(self) -> SagaState:
        """The saga as it is."""
        return self.states[-1]

    def stands(self, step: str) -> bool:
        """Return whether the effect of a step is there, and not undone."""
        found = [effect.phase for effect in self.effects if effect.step == step]
        return found.count("action") > found.count("compensation")

    @property
    def standing(self) -> list[str]:
        """The steps whose effect is there."""
        return sorted({effect.step for effect in self.effects if self.stands(effect.step)})

    @property
    def skipped(self) -> frozenset[str]:
        """Steps that a person had skipped."""
        return frozenset(entry.step for entry in self.journal if isinstance(entry, e.SkipCommanded))


def judge(world: World) -> list[str]:
    """Return everything that is not as it was promised."""
    findings = [f"world: {text} [{rule.__name__}]" for rule in OF_THE_WORLD for text in rule(world)]
    for case in _cases(world, findings):
        for rule in RULES:
            findings += [f"{case.saga.id}: {text} [{rule.__name__}]" for text in rule(case)]
    return findings


def _cases(world: World, findings: list[str]) -> Iterator[Case]:
    sent, effects, told = defaultdict(list), defaultdict(list), defaultdict(list)
    for row in world.wire.sent:
        sent[row.saga].append(row)
    for effect in world.participants.ledger.effects:
        effects[effect.saga].append(effect)
    for seen in world.told:
        told[seen.saga].append(seen.state)
    for saga_id, saga in sorted(world.store.kept._sagas.items()):
        try:
            journal = [decode(body) for body in saga.entries]
            states = _states(journal)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            findings.append(f"{saga_id}: its journal cannot be replayed: {error!r}")
            continue
        yield Case(
            saga=saga, definition=SHAPES[states[0].definition], journal=journal, states=states,
            sent=sent[saga_id], effects=effects[saga_id], told=told[saga_id],
        )  # fmt: skip


def _states(journal: list[Entry]) -> list[SagaState]:
    states: list[SagaState] = []
    for entry in journal:
        states.append(evolve(states[-1] if states else None, entry))
    return states


# --------------------------------------------------------------------------- of the world


def acknowledged(world: World) -> Iterator[str]:
    """See that every start that was acknowledged is there."""
    for saga in sorted(world.clients.told.started - world.store.kept._sagas.keys()):
        yield f"the start of {saga} was acknowledged, and it is lost"
    if world.clients.busy:
        yield f"{world.clients.busy} clients have found no answer"


def no_surprise(world: World) -> Iterator[str]:
    """See that no coordinator met an error it was not made for."""
    for process in [*world.processes, *world.dead]:
        loop = getattr(process, "loop", process)
        yield from loop.complaints
        for task in loop._tasks if loop.alive else ():
            if task.done() and not task.cancelled() and task._log_traceback:
                yield f"a task ended with an error nobody looked at: {task.exception()!r}"


OF_THE_WORLD: tuple[Callable[[World], Iterator[str]], ...] = (acknowledged, no_surprise)


# --------------------------------------------------------------------------- wholly there, or wholly undone


def ended(case: Case) -> Iterator[str]:
    """See that it has come to its end, and that nothing of it is left to anybody."""
    if case.saga.summary.status not in AT_REST:
        yield f"at the end of all it is {case.saga.summary.status}"
    elif case.saga.owner is not None or case.saga.inbox:
        yield f"it is {case.state.status}, owned by {case.saga.owner}, with {len(case.saga.inbox)} messages"
    if case.saga.summary.status != case.state.status:
        yield f"it is shown as {case.saga.summary.status}, and its journal says {case.state.status}"


def whole(case: Case) -> Iterator[str]:
    """See that what stands is what the saga's end promises."""
    status = case.state.status
    if status is Status.COMPLETED:
        kept = _with_effects(case, lambda unit: unit.status is StepStatus.SUCCEEDED)
        if set(case.standing) - case.skipped != kept - case.skipped:
            yield f"it is completed with {case.standing}, not {sorted(kept)}"
    elif status is Status.COMPENSATED:
        left = [step for step in case.standing if case.definition.step(step_name(step)).compensatable]
        if left:
            yield f"it is compensated, and {left} still stands"
    elif status is Status.PARKED and (case.state.parking is None or not case.state.parking.kind):
        yield "it is parked without a reason"


def _with_effects(case: Case, wanted: Callable[..., bool]) -> set[str]:
    """Return the units with an effect of their own that are as wanted."""
    found = set()
    for unit in case.state.steps.values():
        if unit.action.attempts and wanted(unit):
            found.add(unit.name)
    return found


def true_words(case: Case) -> Iterator[str]:
    """See that what is said of each step is true, whatever the saga as a whole came to."""
    for unit in case.state.steps.values():
        if unit.action.attempts == 0 or unit.name in case.skipped:
            continue
        amended = unit.undo_status in (UndoStatus.UNDONE, UndoStatus.RESOLVED)
        there = case.stands(unit.name)
        if unit.status is StepStatus.SUCCEEDED and unit.undo.attempts == 0 and not amended and not there:
            yield f"{unit.name} is said to have succeeded, and nothing is there"
        if (unit.status is StepStatus.REFUSED or amended) and there:
            yield f"{unit.name} is said to be {unit.status}, {unit.undo_status}, and it stands"


def parked_for_a_reason(case: Case) -> Iterator[str]:
    """See that it is parked over something that a person has to decide, never over the coordinator itself."""
    parked = [entry for entry in case.journal if isinstance(entry, e.SagaParked)]
    if any(entry.cause == "internal" for entry in parked):
        yield f"it was parked because the coordinator could not decide: {parked[-1].detail}"


def once(case: Case) -> Iterator[str]:
    """See that no key takes effect twice, and that no step has two keys."""
    for key, count in Counter(effect.key for effect in case.effects).items():
        if count > 1:
            yield f"{key} took effect {count} times"
    keys = {(row.step, row.phase, row.key) for row in case.sent}
    for (step, phase), count in Counter((step, phase) for step, phase, _ in keys).items():
        if count > 1:
            yield f"{step}:{phase} was sent under {count} keys"


def undone_when_quiet(case: Case) -> Iterator[str]:
    """See that a call left open by a coordinator that died has had its whole time before it is undone."""
    quiet: dict[str, float] = {}
    timeouts: dict[tuple[str, int], float] = {}
    for entry in case.journal:
        if isinstance(entry, e.Invoked) and entry.phase == "action":
            timeouts[entry.step, entry.attempt] = entry.timeout
        elif isinstance(entry, e.Invoked) and entry.at < quiet.pop(entry.step, 0.0) - 0.002:
            # Only the first: whoever sends the next may have a clock that is behind.
            yield f"the undoing of {entry.step} was sent while an attempt of it might still be under way"
        elif isinstance(entry, e.AttemptUncertain) and entry.lost and entry.phase == "action":
            quiet[entry.step] = entry.at + timeouts[entry.step, entry.attempt]


def undone_in_reverse(case: Case) -> Iterator[str]:
    """See that whenever a step is undone nothing downstream of it stands."""
    standing: set[str] = set()
    for effect in case.effects:
        if effect.phase == "action":
            standing.add(effect.step)
            continue
        standing.discard(effect.step)
        below = case.definition.graph.downstream(step_name(effect.step))
        left = [
            step
            for step in standing
            if step_name(step) in below
            and step not in case.skipped
            and case.definition.step(step_name(step)).compensatable
        ]
        if left and effect.fence:
            yield f"{effect.step} was undone while {left} stood"


# --------------------------------------------------------------------------- the wire


def same_bytes(case: Case) -> Iterator[str]:
    """See that every attempt under one key carries the same bytes."""
    found = defaultdict(set)
    for row in case.sent:
        found[row.key].add(row.digest)
    for key, digests in found.items():
        if len(digests) > 1:
            yield f"{key} was sent with different bytes"


def fences_never_fall(case: Case) -> Iterator[str]:
    """See that nothing is sent under a fence smaller than one that was used before."""
    fences = [row.fence for row in case.sent]
    if fences != sorted(fences):
        yield f"it was sent under the fences {fences}"


def every_request_is_an_intent(case: Case) -> Iterator[str]:
    """See that each request was durable before it was sent, and was sent once."""
    intents: dict[tuple[str, str, int], list[int]] = defaultdict(list)
    for seq, entry in enumerate(case.journal, start=1):
        if isinstance(entry, e.Invoked):
            intents[entry.step, entry.phase, entry.attempt].append(seq)
    for sent, rows in _by_attempt(case.sent).items():
        known = intents.get(sent, [])
        for row in rows:
            if not known or known[0] > row.seq:
                yield f"attempt {sent} was sent, and its intent was not durable"
        if len(rows) > len(known):
            yield f"attempt {sent} was sent {len(rows)} times, with {len(known)} intents"


def _by_attempt(rows: list[Sent]) -> dict[tuple[str, str, int], list[Sent]]:
    found: dict[tuple[str, str, int], list[Sent]] = defaultdict(list)
    for row in rows:
        found[row.step, row.phase, row.attempt].append(row)
    return found


# --------------------------------------------------------------------------- the journal


def invariants(case: Case) -> Iterator[str]:
    """See that the invariants hold for every prefix of the journal."""
    for seq in range(1, len(case.journal)):
        try:
            check_entry(case.definition, case.states[seq - 1], case.journal[seq], case.states[seq])
        except AssertionError as error:
            yield f"entry {seq + 1}: {error}"
        if case.states[seq].seq != seq + 1:
            yield f"entry {seq + 1} has the number {case.states[seq].seq}"
    if [encode(entry) for entry in case.journal] != case.saga.entries:
        yield "its journal is not written as it was read"
    if replay(case.journal) != case.state:
        yield "replaying it twice tells two different things"


def live_is_replayed(case: Case) -> Iterator[str]:
    """See that every state a coordinator held to be durable is what the journal tells."""
    for state in case.told:
        if state.seq > len(case.states) or state != case.states[state.seq - 1]:
            yield f"a coordinator had another state after entry {state.seq} than the journal tells"


RULES: tuple[Callable[[Case], Iterator[str]], ...] = (
    ended,
    whole,
    true_words,
    parked_for_a_reason,
    once,
    undone_when_quiet,
    undone_in_reverse,
    same_bytes,
    fences_never_fall,
    every_request_is_an_intent,
    invariants,
    live_is_replayed,
)


# --------------------------------------------------------------------------- what those outside were told


def callbacks_stand(world: World) -> Iterator[str]:
    """See that an outcome that was called back and confirmed is in the journal."""
    for said in world.clients.told.callbacks:
        if said.told != "taken":
            continue
        kinds = {
            entry.kind
            for body in world.store.kept._sagas[said.saga].entries
            if getattr(entry := decode(body), "step", None) == said.step
        }
        done = ("step_succeeded", "compensation_undone", "resolve_commanded")
        wanted = done if said.outcome == "succeeded" else ("step_refused", "attempt_refused")
        if not kinds & set(wanted):
            yield f"{said} was confirmed, and the journal of {said.saga} lacks it"


def verdicts_stand(world: World) -> Iterator[str]:
    """See that every verdict that was told is in the journal."""
    for saga, verdict in world.clients.told.verdicts:
        if encode(verdict) not in world.store.kept._sagas[saga].entries:
            yield f"{saga}: {verdict.kind} was told, and is not in its journal"


OF_THE_WORLD += (callbacks_stand, verdicts_stand)
