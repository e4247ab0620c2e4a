"""Faults on order: what a participant is told to do wrong, to whom, and how often.

A document of knobs is ``{"seed": 1, "rules": [...]}``, and a rule is::

    {"on": "reserve", "fault": "lose_answer", "share": 0.2}
    {"on": "charge",  "fault": "refuse", "next": 1}

``on`` names an operation, a step, a phase (``action``, ``compensation``) or ``*``. ``share`` (0 to 1) is a chance
per request, ``next`` a number of requests; a rule with neither always fires.

=============  ==========================================================================================
fault          what happens
=============  ==========================================================================================
refuse         a definite no (``status``, 422 when absent), under the guard: the same no for every duplicate
fail           an answer of ``status`` (503 when absent) without acting; with ``"at": "after"`` having acted
hang           no answer for ``seconds`` (an hour when absent), then the connection is closed; ``at`` likewise
slow           everything as usual, ``seconds`` (1 when absent) later; ``at`` likewise
lose_answer    act, commit, close the connection
die            act, commit, and kill the own process as ``kill -9`` does
too_early      425, without acting
accept         202 at once; act ``seconds`` (1 when absent) later and tell the callback, or, with
               ``"by": "poll"``, give a ``Location`` to ask
=============  ==========================================================================================

The chance is a hash of seed, rule, idempotency key and how often that key has arrived, so the same requests meet the
same faults in whatever order they come. Give sagas fixed ids, and a run can be played again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

FAULTS = frozenset({"refuse", "fail", "hang", "slow", "lose_answer", "die", "too_early", "accept"})
_NUMBERS = {"share": (0.0, 1.0), "next": (0, 1_000_000_000), "status": (200, 599), "seconds": (0.0, 86_400.0)}
_WORDS = {"at": ("before", "after"), "by": ("callback", "poll")}


class BadKnobs(ValueError):
    """A document of knobs is not one; the message says where."""


@dataclass(slots=True, kw_only=True)
class Rule:
    """One fault, whom it meets and how often."""

    on: str
    fault: str
    #: Chance per request, 0 to 1.
    share: float = 1.0
    #: Requests it still fires for; None means no end. The only part of a rule that changes.
    next: int | None = None
    status: int | None = None
    #: How long, for ``hang``, ``slow`` and ``accept``.
    seconds: float | None = None
    at: str = "before"
    by: str = "callback"


@dataclass(slots=True)
class Knobs:
    """The rules of one participant."""

    seed: int
    rules: list[Rule]

    @classmethod
    def parse(cls, document: Any) -> Knobs:
        """Return the knobs of a document; raises :class:`BadKnobs`."""
        if not isinstance(document, dict) or set(document) - {"seed", "rules"}:
            raise BadKnobs('the knobs are an object {"seed": number, "rules": [...]}')
        seed, rules = document.get("seed", 0), document.get("rules", [])
        if type(seed) is not int or not isinstance(rules, list):
            raise BadKnobs("seed is a whole number and rules is a list")
        return cls(seed, [_rule(number, rule) for number, rule in enumerate(rules)])

    def document(self) -> dict[str, Any]:
        """Return what :meth:`parse` reads, with what is left of every ``next``."""
        rules = [
            {name: value for name, value in asdict(rule).items() if value is not None} for rule in self.rules
        ]
        return {"seed": self.seed, "rules": rules}

    def draw(self, names: Iterable[str], key: str, arrival: int) -> list[Rule]:
        """Return the rules that fire for the arrival (from 1) of a key, and count them down."""
        known = {*names, "*"}
        fired = [
            rule
            for number, rule in enumerate(self.rules)
            if rule.on in known and rule.next != 0 and self._chance(number, key, arrival) < rule.share
        ]
        for rule in fired:
            rule.next = None if rule.next is None else rule.next - 1
        return fired

    def _chance(self, number: int, key: str, arrival: int) -> float:
        text = f"{self.seed}|{number}|{key}|{arrival}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big") / 2**56


def _rule(number: int, document: Any) -> Rule:
    where = f"rules[{number}]"
    if not isinstance(document, dict) or not {"on", "fault"} <= set(document):
        raise BadKnobs(f'{where} is an object with "on" and "fault"')
    if not isinstance(document["on"], str) or document["fault"] not in FAULTS:
        raise BadKnobs(f'{where}: "on" is a name and "fault" one of {", ".join(sorted(FAULTS))}')
    unknown = set(document) - {"on", "fault", *_NUMBERS, *_WORDS}
    if unknown:
        raise BadKnobs(f"{where} has no {', '.join(sorted(unknown))}")
    _check(where, document)
    return Rule(**document)


def _check(where: str, document: Mapping[str, Any]) -> None:
    for name, (low, high) in _NUMBERS.items():
        value = document.get(name, low)
        if isinstance(value, bool) or not isinstance(value, int if type(low) is int else int | float):
            raise BadKnobs(f"{where}.{name} is a number")
        if not low <= value <= high:
            raise BadKnobs(f"{where}.{name} is between {low} and {high}")
    for name, words in _WORDS.items():
        if document.get(name, words[0]) not in words:
            raise BadKnobs(f"{where}.{name} is one of {', '.join(words)}")
