"""Given, when, then: the language the tests of the core are written in.

``given(definition).when_refused("charge").then_compensates("hotel", "flight")`` plays a whole saga, whose
participants do as asked but where the sentence says otherwise.
``journal(definition).has(…).when(now)`` takes a saga at one moment, and looks at what is decided then.
"""

from __future__ import annotations

from typing import Any

from saga.core import entries as e
from saga.core.decider import Decision
from saga.core.entries import Entry
from saga.core.outcomes import Deferred, NotExecuted, Outcome, Pending, Refused, Succeeded, Uncertain
from saga.core.state import Failure, SagaState, StepState
from saga.language.fields import Phase
from saga.language.model import SagaDefinition
from tests.driver import START, Wire, World

#: Answers of participants, by the word a test uses for them.
NO = Refused(detail="answered 400 Bad Request", declared=False, status=400)
DECLARED_NO = Refused(detail="answered 402 Payment Required", declared=True, status=402)
DOUBT = Uncertain(detail="answered 500 Internal Server Error", status=500)
UNREACHABLE = NotExecuted(detail="connection refused")
ACCEPTED = Pending(location=None)
TOO_EARLY = Deferred()


def yes(body: Any = None) -> Succeeded:
    """Return the answer 200 with a body."""
    return Succeeded(body=body, status=200)


def given(definition: SagaDefinition, **members: Any) -> Story:
    """Begin a story: a saga of that definition has just been started."""
    world = World.start(definition, **members)
    world.turn()
    return Story(world)


class Story:
    """A saga that is played until somebody looks; what is not scripted goes as it should."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._script: dict[tuple[str, Phase], list[Outcome]] = {}
        self._always: dict[tuple[str, Phase], Outcome] = {}

    @property
    def state(self) -> SagaState:
        """The saga's state."""
        return self.world.state

    def step(self, name: str) -> StepState:
        """Return a step's state."""
        return self.world.state.step(name)

    # ------------------------------------------------------------------- when

    def when(self, unit: str, *outcomes: Outcome, phase: Phase = "action") -> Story:
        """Answer the first attempts so; further ones succeed."""
        self._script.setdefault((unit, phase), []).extend(outcomes)
        return self

    def when_always(self, unit: str, outcome: Outcome, phase: Phase = "action") -> Story:
        """Answer every attempt so."""
        self._always[unit, phase] = outcome
        return self

    def when_refused(self, *units: str) -> Story:
        """Let these actions be refused."""
        for unit in units:
            self.when_always(unit, NO)
        return self

    def when_uncertain(self, *units: str) -> Story:
        """Let nobody ever know whether these actions happened."""
        for unit in units:
            self.when_always(unit, DOUBT)
        return self

    def when_not_executed(self, *units: str) -> Story:
        """Let nobody be there to take these actions."""
        for unit in units:
            self.when_always(unit, UNREACHABLE)
        return self

    def when_undo(self, unit: str, *outcomes: Outcome) -> Story:
        """Answer the first attempts of a compensation so."""
        return self.when(unit, *outcomes, phase="compensation")

    def when_undo_always(self, unit: str, outcome: Outcome) -> Story:
        """Answer every attempt of a compensation so."""
        return self.when_always(unit, outcome, phase="compensation")

    def when_commanded(self, command: Any, step: str | None = None, outcome: Any = None) -> Story:
        """Give a command now."""
        self.world.command(command, step, outcome)
        return self

    def when_passes(self, seconds: float) -> Story:
        """Let time pass."""
        self.world.advance(self.world.now + seconds)
        return self

    def answered(self, unit: str, outcome: Outcome, phase: Phase = "action") -> Story:
        """Answer what is on the wire now."""
        self.world.answer(self.wire(unit, phase), outcome, effect=isinstance(outcome, Succeeded))
        return self

    def wire(self, unit: str, phase: Phase = "action") -> Wire:
        """Return what is on the wire for that invocation."""
        return next(wire for wire in self.world.wires if (wire.unit, wire.phase) == (unit, phase))

    def played(self, limit: int = 400) -> Story:
        """Play on until nothing happens any more."""
        for _ in range(limit):
            if not self._goes_on():
                return self
        raise AssertionError(f"still {self.state.status} after {limit} events")

    def _goes_on(self) -> bool:
        for wire in self.world.wires:
            if wire.via == "http":
                outcome = self._outcome(wire)
                self.world.answer(wire, outcome, effect=isinstance(outcome, Succeeded))
                return True
        return not self.world.wires and self.world.go_on()

    def _outcome(self, wire: Wire) -> Outcome:
        asked = (wire.unit, wire.phase)
        if script := self._script.get(asked):
            return script.pop(0)
        return self._always.get(asked, yes({"of": wire.unit}))

    # ------------------------------------------------------------------- then

    def then_sends(self, *units: str) -> Story:
        """Assert that these actions were sent, in this order, each attempt counted."""
        self.played()
        assert list(units) == [unit for unit, phase in self.world.sent if phase == "action"]
        return self

    def then_compensates(self, *units: str) -> Story:
        """Assert that these compensations were sent, in this order, each attempt counted."""
        self.played()
        assert list(units) == [unit for unit, phase in self.world.sent if phase == "compensation"]
        return self

    def then_ends(self, status: str) -> Story:
        """Assert how it ends."""
        self.played()
        assert status == self.state.status
        return self

    def then_is(self, status: str) -> Story:
        """Assert where the saga is now, without playing on."""
        assert status == self.state.status
        return self

    def then_parks(self, step: str, kind: str) -> Story:
        """Assert that the saga is parked, and says where and why."""
        self.played()
        assert self.state.status == "parked"
        assert (step, kind) == _why(self.state.parking)
        return self

    def then_fails_with(self, step: str | None, kind: str) -> Story:
        """Assert why it went backward."""
        self.played()
        assert (step, kind) == _why(self.state.failure)
        return self

    def then_step(self, name: str, status: str, undo: str = "pending", *, kind: str | None = None) -> Story:
        """Assert where a step and its compensation are, and why its action is there."""
        self.played()
        step = self.step(name)
        assert (status, undo) == (step.status, step.undo_status)
        assert kind is None or (step.failure is not None and kind == step.failure.kind)
        return self


def _why(failure: Failure | None) -> tuple[str | None, str | None]:
    return (None, None) if failure is None else (failure.step, failure.kind)


# --------------------------------------------------------------------------- one moment


def journal(definition: SagaDefinition, **members: Any) -> Moment:
    """Begin with a journal that holds the start only."""
    return Moment(World.start(definition, **members))


class Moment:
    """A journal, and what is decided on it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.decision: Decision | None = None

    @property
    def state(self) -> SagaState:
        """The saga's state."""
        return self.world.state

    def has(self, *entries: Entry) -> Moment:
        """Add entries to the journal."""
        self.world.apply(*entries)
        return self

    def when(self, now: float) -> Moment:
        """Decide, so many seconds after the start."""
        self.world.now = START + now
        self.decision = self.world.turn()
        return self

    @property
    def decided(self) -> Decision:
        """What was decided last."""
        assert self.decision is not None
        return self.decision

    def then_invokes(self, *invocations: str) -> Moment:
        """Assert which invocations are due: ``unit:phase``, ``unit:phase:attempt`` from the second."""
        shown = [_shown(invoke.intent) for invoke in self.decided.invocations]
        assert list(invocations) == shown
        return self

    def then_records(self, *kinds: type[Entry]) -> Moment:
        """Assert which facts are recorded."""
        assert list(kinds) == [type(fact) for fact in self.decided.facts]
        return self

    def then_wakes_after(self, seconds: float | None) -> Moment:
        """Assert when it is looked at again, in seconds after the start."""
        at = self.decided.wake_at
        assert seconds == (None if at is None else round(at - START, 3))
        return self


def _shown(intent: e.Invoked) -> str:
    named = f"{intent.step}:{intent.phase}"
    return named if intent.attempt == 1 else f"{named}:{intent.attempt}"


def invoked(
    step: str, attempt: int = 1, phase: Phase = "action", at: float = 0.0, **members: Any
) -> e.Invoked:
    """Return an intent."""
    return e.Invoked(
        **{"at": START + at, "step": step, "phase": phase, "attempt": attempt, "timeout": 10.0} | members
    )


def succeeded(step: str, attempt: int | None = 1, output: Any = None, at: float = 0.0) -> e.StepSucceeded:
    """Return that an action succeeded."""
    return e.StepSucceeded(at=START + at, step=step, attempt=attempt, output=output)
