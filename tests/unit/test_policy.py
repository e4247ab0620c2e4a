"""What is owed for each outcome, and what becomes of a saga whose undoing is over or exhausted."""

from __future__ import annotations

import pytest

from compensations.policy import Effect, Standing, Undo, owed, standing, why_not_owed


@pytest.mark.parametrize(
    ("effect", "is_owed"),
    [
        (Effect.NEVER_INVOKED, False),
        (Effect.REFUSED, False),
        (Effect.SKIPPED, False),
        (Effect.SUCCEEDED, True),
        (Effect.UNCERTAIN, True),
        (Effect.OPEN, True),
    ],
)
def test_what_may_have_happened_is_owed(effect: Effect, is_owed: bool) -> None:  # noqa: FBT001 - a parameter
    """And nothing is where the definition says that nothing is."""
    assert owed(effect, compensatable=True) is is_owed
    assert owed(effect, compensatable=False) is False


@pytest.mark.parametrize(
    ("effect", "undo", "why"),
    [
        (Effect.NEVER_INVOKED, Undo.DUE, "never invoked"),
        (Effect.REFUSED, Undo.DUE, "refused"),
        (Effect.SKIPPED, Undo.DUE, "skipped"),
        (Effect.SUCCEEDED, Undo.UNDONE, "undone"),
        (Effect.UNCERTAIN, Undo.SKIPPED, "skipped"),
        (Effect.SUCCEEDED, Undo.DUE, None),
        (Effect.SUCCEEDED, Undo.MOVING, None),
        (Effect.SUCCEEDED, Undo.FAILED, None),
        (Effect.OPEN, Undo.DUE, None),
    ],
)
def test_what_is_not_sent_has_a_reason(effect: Effect, undo: Undo, why: str | None) -> None:
    """In words an operator reads."""
    assert why_not_owed(effect, undo, compensatable=True) == why


def test_what_needs_no_compensation_says_so() -> None:
    """Whether or not it happened."""
    assert why_not_owed(Effect.SUCCEEDED, Undo.DUE, compensatable=False) == "needs no compensation"


@pytest.mark.parametrize(
    ("undos", "moving", "said"),
    [
        ((), False, "compensated"),
        ((), True, "moving"),
        ((Undo.UNDONE, Undo.UNDONE), False, "compensated"),
        ((Undo.UNDONE, Undo.SKIPPED), False, "abandoned"),
        ((Undo.UNDONE, Undo.DUE), False, "moving"),
        ((Undo.UNDONE, Undo.MOVING), False, "moving"),
        ((Undo.FAILED, Undo.DUE), False, "parked"),
        ((Undo.FAILED, Undo.DUE), True, "moving"),
        ((Undo.FAILED, Undo.SKIPPED), False, "parked"),
    ],
)
def test_the_verdict_waits_for_everything_that_can_move(
    undos: tuple[Undo, ...],
    moving: bool,  # noqa: FBT001 - a parameter
    said: Standing,
) -> None:
    """Compensated only when everything owed is undone."""
    assert standing(undos, moving=moving) == said
