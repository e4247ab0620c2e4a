"""All that the judge looks at, as plain rows: what participants wrote down, clients were told, journals show."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from tests.campaign.definitions import Plan

Row: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One round, when everything has come to an end."""

    plans: Mapping[str, Plan]
    #: Summaries of all sagas, as the API lists them.
    sagas: Sequence[Row]
    #: Journals as the API shows them.
    journals: Mapping[str, Sequence[Row]]
    #: Every request that reached a participant, and every change it made, in the order of their ticks.
    deliveries: Sequence[Row]
    effects: Sequence[Row]
    #: Saga by the key of a start that was answered with 2xx.
    accepted: Mapping[str, str] = field(default_factory=dict)
    #: How a saga was said to have ended, to a client that asked.
    told: Mapping[str, str] = field(default_factory=dict)
    #: Sagas whose cancel was answered with 200: they go backward, or have gone.
    cancelled: frozenset[str] = frozenset()

    def cases(self) -> list[Case]:
        """Return every saga with what concerns it."""
        deliveries, effects = _by_saga(self.deliveries), _by_saga(self.effects)
        return [
            Case(
                id=saga["id"],
                plan=self.plans[saga["definition"]["name"]],
                status=saga["status"],
                journal=self.journals.get(saga["id"], ()),
                deliveries=deliveries.get(saga["id"], ()),
                effects=effects.get(saga["id"], ()),
            )
            for saga in self.sagas
        ]


def seconds(text: str) -> float:
    """Return an RFC 3339 time as epoch seconds."""
    return datetime.fromisoformat(text).timestamp()


def timestamp(at: float) -> str:
    """Return epoch seconds as journals show them."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def _by_saga(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["saga"]].append(row)
    return found


@dataclass(frozen=True, kw_only=True)
class Case:
    """One saga and all that is known of it."""

    id: str
    plan: Plan
    #: As the API says.
    status: str
    journal: Sequence[Row]
    deliveries: Sequence[Row]
    effects: Sequence[Row]

    @cached_property
    def wanted(self) -> frozenset[str]:
        """The steps this saga has to do, by its input."""
        given = self.journal[0].get("input") or {} if self.journal else {}
        return frozenset(step.name for step in self.plan.wanted(given))

    @cached_property
    def standing(self) -> frozenset[str]:
        """The steps whose effect is there, and not undone, by the participants' ledgers."""
        acted = [row["step"] for row in self.effects if row["phase"] == "action"]
        undone = [row["step"] for row in self.effects if row["phase"] == "compensation"]
        return frozenset(step for step in acted if acted.count(step) > undone.count(step))

    def _lived(self, at: float) -> bool:
        return bool(self.journal) and seconds(self.journal[0]["at"]) < at < seconds(self.journal[-1]["at"])

    def entries(self, *kinds: str) -> list[Row]:
        """Return the entries of these kinds, in order."""
        return [entry for entry in self.journal if entry["kind"] in kinds]

    def effects_of(self, step: str, phase: str) -> list[Row]:
        """Return the effects of one phase of a step."""
        return [row for row in self.effects if (row["step"], row["phase"]) == (step, phase)]

    def deliveries_of(self, step: str, phase: str) -> list[Row]:
        """Return the requests of one phase of a step."""
        return [row for row in self.deliveries if (row["step"], row["phase"]) == (step, phase)]

    def dump(self, folder: Path, findings: Sequence[str], kills: Sequence[float]) -> None:
        """Write everything down, with the kills it lived through, for a person to study."""
        folder.mkdir(parents=True, exist_ok=True)
        document = {
            "saga": self.id,
            "definition": self.plan.name,
            "status": self.status,
            "findings": list(findings),
            "killed_at": [timestamp(kill) for kill in kills if self._lived(kill)],
            "journal": list(self.journal),
            "deliveries": list(self.deliveries),
            "effects": list(self.effects),
        }
        (folder / f"{self.id}.json").write_text(json.dumps(document, indent=1))
