"""What happened is counted, and what did not happen is said."""

from __future__ import annotations

from tests.campaign.evidence import Case, seconds, timestamp
from tests.campaign.faults import NORMAL, SLOWEST, Faults, Shares
from tests.campaign.killer import Kill
from tests.campaign.tally import FAULTS, Tally, hits
from tests.campaign.test_judge import PLANS

EPOCH = seconds("2026-01-01T00:00:00Z")


def _case(began: float, ended: float | None) -> Case:
    journal = [{"kind": "saga_started", "at": timestamp(EPOCH + began)}]
    if ended is not None:
        journal.append({"kind": "saga_completed", "at": timestamp(EPOCH + ended)})
    return Case(
        id="s1", plan=PLANS["booking"], status="completed", journal=journal, deliveries=(), effects=()
    )


def _kill(at: float) -> Kill:
    return Kill(number=1, cold=False, launched=EPOCH, at=EPOCH + at, again=EPOCH + at)


def test_a_kill_hits_when_a_saga_is_under_way_at_its_instant() -> None:
    """Neither before the first has begun nor in a gap between two; one that never ended counts for ever."""
    cases = [_case(1, 2), _case(4, 6), _case(5, None)]

    assert [hits(cases, [_kill(at)]) for at in (0.5, 1.5, 3, 5.5, 7)] == [0, 1, 0, 1, 1]


def test_a_run_in_which_nothing_happened_wants_everything() -> None:
    """Each fault, each end, and kills that found a saga in flight."""
    wanting = list(Tally(kills=10).wanting())

    assert len(wanting) == len(FAULTS) + 3 + 1
    assert wanting[-1] == "only 0 of 10 kills found a saga in flight"


def test_fates_are_drawn_again_from_the_same_seed() -> None:
    """Whatever the order in which the requests come."""
    keys = [(f"k{number}", arrival) for number in range(200) for arrival in (1, 2)]
    first, second = Faults(7, NORMAL), Faults(7, NORMAL)

    assert [first.fate(*key) for key in keys] == [second.fate(*key) for key in reversed(keys)][::-1]
    assert first.refuses("k1", after_pivot=False) == second.refuses("k1", after_pivot=False)


def test_fates_come_as_often_as_they_were_ordered() -> None:
    """Within what chance allows; nothing happens to a participant that is healed."""
    faults = Faults(1, Shares(fail=0.2, turn_away=0, throttle=0, lose=0.1, slow=0.1, accept=0))
    fates = [faults.fate(f"k{number}", 1) for number in range(5_000)]

    assert 0.17 < sum(fate.instead == 503 for fate in fates) / 5_000 < 0.23
    assert 0.06 < sum(fate.lost for fate in fates) / 5_000 < 0.10
    assert max(fate.before + fate.after for fate in fates) <= SLOWEST
    faults.healed = True
    assert not any(faults.fate(f"k{number}", 1).names for number in range(100))
