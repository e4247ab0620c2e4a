"""What happened in a round: ends, faults by kind, kills that hit something; and what did not happen but had to.

A campaign in which a fault never fired has proved nothing about it, so that is a failure of its own.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tests.campaign.evidence import Case, Evidence, seconds
from tests.campaign.killer import Kill
from tests.campaign.rounds import Round

#: Part of the kills that have to find a saga in flight.
LEAST_IN_FLIGHT = 0.30
ENDS = ("completed", "compensated", "parked")
FAULTS = (
    "refuse",
    "fail",
    "lose",
    "slow",
    "turn_away",
    "throttle",
    "accept",
    "stubborn",
    "callback that found nobody, or nobody who lived to answer",
    "callback confirmed",
    "cancel sent just before a kill",
    "cancel as the first request after a restart",
    "cancel that turned a saga round",
    "deadline passed while down",
    "start asked for again",
    "attempt open when its coordinator died",
    "undoing of what never took effect",
    "answer replayed by a guard",
)
#: Rare enough not to be asked of every run: an action that arrives when it has been undone already.
SEEN = "late action refused by a guard"


@dataclass(kw_only=True)
class Tally:
    """The numbers of one or more rounds."""

    kills: int = 0
    cold: int = 0
    #: Kills at an instant at which a saga was under way.
    in_flight: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    #: Journal entries that tell of an attempt inherited open.
    takeovers: int = 0
    requests: int = 0
    inconsistent: int = 0
    lost: int = 0
    #: Seconds from a warm start to its first answer.
    ready: list[float] = field(default_factory=list)

    def add(self, found: Round) -> None:
        """Count a round."""
        self.kills += len(found.kills)
        self.cold += sum(kill.cold for kill in found.kills)
        self.ready += [kill.ready for kill in found.kills if kill.ready is not None and not kill.cold]
        self.inconsistent += len({finding.saga for finding in found.findings})
        self.lost += sum(finding.rule == "acknowledged" for finding in found.findings)
        self.faults["start asked for again"] += found.told.repeated
        for cancel in found.told.cancels:
            if cancel.when == "before kill":
                self.faults["cancel sent just before a kill"] += 1
            elif cancel.when == "after restart":
                self.faults["cancel as the first request after a restart"] += 1
        if found.evidence is not None:
            self._add(found.evidence, found.kills)

    def _add(self, evidence: Evidence, kills: list[Kill]) -> None:
        cases = evidence.cases()
        self.ends.update(case.status for case in cases)
        self.requests += len(evidence.deliveries)
        self.in_flight += hits(cases, kills)
        for row in evidence.deliveries:
            self.faults.update(row["faults"])
            self.faults["callback that found nobody, or nobody who lived to answer"] += row["unheard"]
            self.faults["callback confirmed"] += row["heard"] == 200
            self.faults[SEEN] += row["verdict"] == "late"
            self.faults["undoing of what never took effect"] += row["verdict"] == "null"
            self.faults["answer replayed by a guard"] += row["verdict"] == "replay"
        for case in cases:
            lost = sum(bool(entry.get("lost")) for entry in case.entries("attempt_uncertain"))
            self.takeovers += lost
            self.faults["attempt open when its coordinator died"] += lost
            self.faults["cancel that turned a saga round"] += len(case.entries("saga_cancelled"))
            self.faults["deadline passed while down"] += _deadline_while_down(case, kills)

    def wanting(self) -> Iterator[str]:
        """Yield what had to happen and did not."""
        for fault in FAULTS:
            if not self.faults[fault]:
                yield f"never: {fault}"
        for end in ENDS:
            if not self.ends[end]:
                yield f"no saga was {end}"
        if self.in_flight < LEAST_IN_FLIGHT * self.kills:
            yield f"only {self.in_flight} of {self.kills} kills found a saga in flight"


def hits(cases: Iterable[Case], kills: list[Kill]) -> int:
    """Return how many kills came while a saga was under way."""
    # +1 where one begins, -1 where it ends; at a kill the sum is the number under way.
    marks: list[tuple[float, int]] = []
    for case in cases:
        if case.journal:
            marks += [(seconds(case.journal[0]["at"]), 1), (_over(case), -1)]
    marks.sort()
    times, under_way, total = [time for time, _ in marks], [], 0
    for _, change in marks:
        total += change
        under_way.append(total)
    places = [bisect_right(times, kill.at) for kill in kills]
    return sum(place > 0 and under_way[place - 1] > 0 for place in places)


def _over(case: Case) -> float:
    ends = case.entries("saga_completed", "saga_compensated", "saga_abandoned", "saga_parked")
    return seconds(ends[0]["at"]) if ends else float("inf")


def _deadline_while_down(case: Case, kills: list[Kill]) -> bool:
    """Return whether the deadline that turned the saga passed while no coordinator ran."""
    turned = [entry for entry in case.entries("turned_backward") if entry.get("cause") == "deadline"]
    deadline = case.journal[0].get("deadline") if case.journal else None
    if not turned or deadline is None:
        return False
    at = seconds(deadline)
    place = bisect_right([kill.at for kill in kills], at)
    return place > 0 and kills[place - 1].at <= at <= kills[place - 1].again
