"""What would be sent, in which order, when a step fails: the decider itself, asked without a network.

A saga is played of which nothing is known but its definition. Input and outputs do not exist then, so the decider
is given an *outline*: the same steps in the same order, of the same kinds and policies, without the templates that
would fill requests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from saga.core import entries as e
from saga.core.case import case
from saga.core.conclusions import refusal
from saga.core.decider import Decision, Invoke, decide
from saga.core.entries import Entry
from saga.core.journal import evolve
from saga.core.outcomes import Outcome, Refused, Succeeded, Uncertain
from saga.core.settlement import settle
from saga.core.statuses import Status, StepStatus
from saga.errors import SagaError
from saga.language.fields import DOCUMENT, Phase
from saga.language.model import SagaDefinition

#: Turns after which a simulation is given up; the longest policies need some hundred.
_TURNS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One action or compensation that was sent."""

    step: str
    phase: Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """How a saga goes when one step fails, or none."""

    #: The step that failed, None for none, and whether it was left in doubt instead of refused.
    failed: str | None
    uncertain: bool
    #: First attempts; those of one wave are sent together.
    waves: tuple[tuple[Sent, ...], ...]
    status: Status
    #: Why it went backward or is parked.
    reason: str


def simulate(definition: SagaDefinition, fail: str | None = None, *, uncertain: bool = False) -> Simulation:
    """Return what is sent when the named step is refused (or stays in doubt) and every other one succeeds.

    A step with ``for_each`` is played with one instance, ``when`` is taken to hold, and a ``fail`` step is
    passed by unless it is the one named.

    Raises :class:`~saga.errors.SagaError` for a step that does not exist or cannot fail.
    """
    if fail is not None and fail not in definition.graph:
        raise SagaError(f"there is no step {fail!r}; there are {', '.join(definition.graph.order)}")
    if fail is not None and definition.step(fail).kind == "wait":
        raise SagaError(f"{fail!r} is a wait: time passes, whatever happens")
    outlined = _outline(definition, fail)
    run = _Run(definition=outlined, fail=fail, uncertain=uncertain)
    waves = tuple(run.waves())
    failure = run.state.parking or run.state.failure
    reason = (
        "" if failure is None else f"{failure.kind}: {failure.detail}" if failure.detail else failure.kind
    )
    return Simulation(failed=fail, uncertain=uncertain, waves=waves, status=run.state.status, reason=reason)


def _outline(definition: SagaDefinition, fail: str | None) -> SagaDefinition:
    """Return the definition without anything that depends on an input or an output."""
    document = definition.document()
    kept = {name: document[name] for name in ("name", "defaults") if name in document}
    services = {name: {"url": service["url"]} for name, service in document.get("services", {}).items()}
    steps = [_outlined(step, fail) for step in document["steps"]]
    return SagaDefinition.model_validate(
        {**kept, "services": services, "steps": steps}, context=dict(DOCUMENT)
    )


_OF_STEP = ("when", "for_each", "max_parallel", "output", "sensitive", "due")
_OF_CALL = ("path", "query", "headers", "body", "refused_when", "input")


def _outlined(step: Mapping[str, Any], fail: str | None) -> dict[str, Any]:
    made = {name: _without_templates(value) for name, value in step.items() if name not in _OF_STEP}
    if "wait" in made:
        made["wait"] = "1s"
    if "fail" in made and step["name"] != fail:
        made["when"] = "${input.fails}"
    return made


def _without_templates(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: _without_templates(item) for name, item in value.items() if name not in _OF_CALL}


class _Run:
    """A saga that is being simulated."""

    def __init__(self, *, definition: SagaDefinition, fail: str | None, uncertain: bool) -> None:
        self._definition, self._fail, self._uncertain = definition, fail, uncertain
        self._now = 0.0
        started = e.SagaStarted(at=0.0, saga="simulated", definition=definition.name, version=1, input={})
        self.state = evolve(None, started)

    def waves(self) -> Iterator[tuple[Sent, ...]]:
        """Yield what is sent together, first attempts only, until the saga ends or is parked."""
        for _ in range(_TURNS):
            decision = self._turn()
            first = [invoke.intent for invoke in decision.invocations if invoke.intent.attempt == 1]
            if first:
                yield tuple(Sent(step=intent.step, phase=intent.phase) for intent in first)
            for invoke in decision.invocations:
                self._answer(invoke)
            if not decision.invocations and not self._moved(decision):
                return

    def _turn(self) -> Decision:
        decision = decide(self._definition, self.state, self._now)
        self.state = decision.state
        self._record(*(invoke.intent for invoke in decision.invocations))
        return decision

    def _record(self, *entries: Entry) -> None:
        for entry in entries:
            self.state = evolve(self.state, entry)

    def _answer(self, invoke: Invoke) -> None:
        intent = invoke.intent
        outcome = self._outcome(intent.step, intent.phase)
        self._record(
            *settle(
                self._definition,
                self.state,
                intent.step,
                intent.phase,
                outcome,
                self._now,
                attempt=intent.attempt,
            )
        )

    def _outcome(self, unit: str, phase: Phase) -> Outcome:
        if phase == "compensation" or unit != self._fail:
            return Succeeded(body=None, status=200)
        if self._uncertain and self._definition.step(unit).kind != "saga":
            return Uncertain(detail="its outcome stays unknown")
        return Refused(detail="a definite no", declared=True, status=400)

    def _moved(self, decision: Decision) -> bool:
        """Give a signal that is awaited, or let time pass; return False when neither is of use."""
        if self.state.ended or self.state.status is Status.PARKED:
            return False
        for unit in self.state.steps.values():
            step = self._definition.step(unit.name)
            if step.signal is not None and unit.status is StepStatus.WAITING:
                self._signal(unit.name, step.signal.name)
                return True
        if decision.wake_at is None:
            return False
        self._now = decision.wake_at
        return True

    def _signal(self, unit: str, name: str) -> None:
        if unit == self._fail:
            it = case(self._definition, self.state, unit, "action", self._now)
            self._record(refusal(it, self._now, "signal-timeout", f"no signal {name} came in time"))
        else:
            self._record(e.SignalReceived(at=self._now, name=name, message=unit))
