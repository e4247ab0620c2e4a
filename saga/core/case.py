"""One invocation of one saga at one moment, and when its next attempt is due.

Up to the pivot an action has so many attempts. A compensation, a step after the pivot, and a pivot in doubt are
persistent: refusals are bounded by ``attempts``, everything else by ``within``.
"""

from __future__ import annotations

from dataclasses import dataclass

from saga.core.backoff import delay
from saga.core.requests import call_of
from saga.core.state import InvocationState, SagaState, StepState, step_name
from saga.language.fields import Phase, Position
from saga.language.model import Call, Retry, SagaDefinition, Step, Worker
from saga.language.model import Pending as PendingPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One invocation of one saga at one moment: what every rule here looks at."""

    definition: SagaDefinition
    state: SagaState
    unit: str
    phase: Phase
    #: Epoch seconds; while the saga is paused, the time at which its timers stand still.
    now: float

    @property
    def step(self) -> Step:
        """Return the step of the definition."""
        return self.definition.step(step_name(self.unit))

    @property
    def unit_state(self) -> StepState:
        """Return what is known of the step or instance."""
        return self.state.step(self.unit)

    @property
    def invocation(self) -> InvocationState:
        """Return its attempts."""
        return self.unit_state.invocation(self.phase)

    @property
    def position(self) -> Position:
        """Return where the step stands to the pivot."""
        return self.definition.position(step_name(self.unit))

    @property
    def tolerant(self) -> bool:
        """True when a certain refusal does not stop the saga."""
        return self.step.on_refused == "continue"

    def persistent(self, *, doubt: bool) -> bool:
        """Return whether the invocation is retried by the policy of what must be done in the end."""
        if self.phase == "compensation" or self.position == "after":
            return True
        return self.position == "pivot" and doubt

    def retry(self, *, doubt: bool) -> Retry:
        """Return the policy that governs the next attempt."""
        if self.phase == "action" and self.position == "pivot" and doubt:
            return self.definition.defaults.compensation.retry
        runs = executor(self.step, self.phase)
        if runs is not None:
            return runs.retry
        # A child saga has no policy of its own.
        persistent = self.persistent(doubt=doubt)
        return (
            self.definition.defaults.compensation if persistent else self.definition.defaults.action
        ).retry

    @property
    def halted(self) -> bool:
        """True when the saga goes backward: no further action is sent, and the decider concludes."""
        return self.phase == "action" and self.state.direction == "backward"

    def next_at(
        self, *, refused: bool, retry_after: float | None = None, doubt: bool | None = None
    ) -> float | None:
        """Return when the next attempt is due, None when the policy allows none.

        ``retry_after`` are the seconds the participant asked to wait, ``doubt`` whether the outcome may have
        happened (absent: as it is known so far).
        """
        if self.halted:
            return None
        invocation = self.invocation
        doubt = invocation.doubt if doubt is None else doubt
        retry, persistent = self.retry(doubt=doubt), self.persistent(doubt=doubt)
        tries = invocation.tries + 1
        counted = invocation.refusals + 1 if persistent else tries
        bounded = refused or not persistent
        if bounded and retry.attempts is not None and counted >= retry.attempts:
            return None
        seed = f"{self.state.id}:{self.unit}:{self.phase}:{invocation.attempts}"
        next_at = self.now + delay(retry, tries, seed=seed, retry_after=retry_after)
        if refused and persistent:
            return next_at
        return None if self.over(next_at, doubt=doubt) else next_at

    def over(self, at: float, *, doubt: bool) -> bool:
        """Return whether the budget's time is over at that time (epoch seconds)."""
        within = self.retry(doubt=doubt).within
        begun = self.invocation.budget_at
        return within is not None and begun is not None and at > begun + within


def executor(step: Step, phase: Phase) -> Call | Worker | None:
    """Return the call or the worker's task that the step has for the phase; None for a child saga."""
    if phase == "compensation":
        return step.compensation if isinstance(step.compensation, Call | Worker) else None
    return step.action if step.action is not None else step.worker


def case(definition: SagaDefinition, state: SagaState, unit: str, phase: Phase, now: float) -> Case:
    """Return the case, its time standing still while the saga is paused."""
    still = state.paused_at if state.paused_at is not None else now
    return Case(definition=definition, state=state, unit=unit, phase=phase, now=still)


def pending_policy(it: Case) -> PendingPolicy:
    """Return how long an outcome that was promised is waited for, and how often it is asked for."""
    return call_of(it.definition, it.unit, it.phase).pending
