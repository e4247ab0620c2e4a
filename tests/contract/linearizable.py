"""Whether what clients were told, each while others were served, can have happened one call after the other.

The search is that of Wing and Gong, with Lowe's memory of what was tried; the specification is
:class:`~saga.stores.memory.MemoryStore`. A history is split by saga, which keeps each search small: calls that
concern nodes stand in the history of every saga. What a call is answered of other sagas is not looked at.

A call whose answer was lost may have happened at any time after it was made, or not at all.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from saga.errors import SagaError
from saga.ports.stored import Claimed, Existing
from saga.stores.memory import MemoryStore

#: Calls that concern a saga by its owner, whichever it is.
OF_NODES = frozenset({"join", "bury", "evaluate", "release_dead", "leave", "put_back"})
_BY_NODE = OF_NODES - {"release_dead"}
#: Answers that count other sagas, too.
_UNSEEN = frozenset({"release_dead"})
#: States after which a search is given up: that is a failure of the test, not of the store.
ENOUGH = 300_000


class Undecided(Exception):
    """The search took too long."""


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One call of one client."""

    client: int
    verb: str
    args: tuple[Any, ...]
    #: When it was made and when it was answered, by one counter; ``inf``: it never was.
    made: int
    answered: float
    #: What it gave, or the type of what it raised.
    answer: Any = None
    #: It may have happened within its times, or not at all.
    perhaps: bool = False

    @property
    def certain(self) -> bool:
        """Whether it has happened."""
        return self.answered < inf and not self.perhaps

    @property
    def changed_nothing(self) -> bool:
        """Whether its answer says so."""
        refused = isinstance(self.answer, type | Existing) or (self.verb, self.answer) == ("take", None)
        return self.certain and (refused or self.verb in ("load", "messages"))

    def __str__(self) -> str:
        return f"{self.made:4}-{self.answered:<4} {self.client} {self.verb}{self.args} = {self.answer}"


def wrong(history: Sequence[Call]) -> list[str]:
    """Return the sagas whose histories cannot have happened, each with its calls."""
    sagas = sorted({call.args[0] for call in history if call.verb == "start" for call in [_named(call)]})
    return [
        "\n".join([f"{saga}:", *map(str, own)])
        for saga in sagas
        if not possible(own := sorted(_of(saga, history), key=lambda call: call.made))
    ]


def _named(call: Call) -> Call:
    return Call(call.client, call.verb, (call.args[0].id,), call.made, call.answered)


def _of(saga: str, history: Sequence[Call]) -> list[Call]:
    """Return what of a history concerns one saga: of nodes only those that can have owned it."""
    found = list(_told_of(saga, history))
    owners = {call.args[0] for call in found if call.verb == "claim"}
    owners |= {call.args[1] for call in found if call.verb == "take"}
    owners |= {call.args[0].owner for call in found if call.verb == "start"}
    return [call for call in found if call.verb not in _BY_NODE or call.args[0] in owners]


def _told_of(saga: str, history: Sequence[Call]) -> Iterator[Call]:
    for call in history:
        if call.verb in OF_NODES or (call.verb == "claim" and not call.certain):
            yield call
        elif call.verb == "claim":
            mine = [one for one in call.answer if one.lease.saga_id == saga]
            if mine:  # not to be given what is free breaks no promise
                yield Call(call.client, "claim", call.args, call.made, call.answered, mine[0])
        elif _subject(call) == saga:
            yield call


def _subject(call: Call) -> str:
    first = call.args[0]
    return str(getattr(first, "saga_id", getattr(first, "id", first)))


# --------------------------------------------------------------------------- the search


def possible(calls: Sequence[Call]) -> bool:
    """Return whether there is an order of these calls, within their times, that gives their answers."""
    must = sum(1 << place for place, call in enumerate(calls) if call.certain)
    start = _Spec()
    stack, tried = [(0, start)], {(0, start.key())}
    while stack:
        done, spec = stack.pop()
        if done & must == must:
            return True
        for place, after in _steps(calls, done, spec):
            state = (done | 1 << place, after.key())
            if state not in tried:
                tried.add(state)
                stack.append((state[0], after))
        if len(tried) > ENOUGH:
            raise Undecided(f"{len(calls)} calls")
    return False


def _steps(calls: Sequence[Call], done: int, spec: _Spec) -> list[tuple[int, _Spec]]:
    """Return which calls may come next, and where they lead; the last is to be tried first.

    One whose answer says that it has changed nothing may as well come now: whatever order there is, there is one with
    it here.
    """
    found = []
    for place in _next(calls, done):
        after = spec.after(calls[place])
        if after is not None and calls[place].changed_nothing:
            return [(place, after)]
        if after is not None:
            found.append((place, after))
    return found


def _next(calls: Sequence[Call], done: int) -> list[int]:
    """Return which calls may come next: those made before any that is left was answered."""
    left = [place for place in range(len(calls)) if not done >> place & 1]
    until = min(calls[place].answered for place in left if calls[place].certain)
    latest = max((call.made for place, call in enumerate(calls) if done >> place & 1), default=0)
    found = [place for place in left if calls[place].made < until and (calls[place].answered > latest)]
    return sorted(found, key=lambda place: (calls[place].certain, -calls[place].made))


class _Spec(MemoryStore):
    """The specification in one state, of one saga and the nodes."""

    def after(self, call: Call) -> _Spec | None:
        """Return the state after the call; None when it cannot have been answered so, or has not done anything."""
        spec = self._fork()
        answer = spec._answer(call)
        if not call.certain:
            return spec if spec.key() != self.key() else None
        return spec if call.verb in _UNSEEN or _agree(answer, call.answer) else None

    def _answer(self, call: Call) -> Any:
        if call.verb == "put_back":
            return self._put_back(*call.args)
        args = call.args if call.verb != "claim" else (call.args[0], 1, *call.args[2:])
        try:
            answer = _now(getattr(self, call.verb)(*args))
        except SagaError as refusal:
            return type(refusal)
        if call.verb == "claim":
            return answer[0] if answer else None
        return answer

    def _put_back(self, node: str) -> None:
        """Undo what a claim has taken whose client was gone."""
        for saga in self._owned_by(node):
            saga.owner = None
            self._changed(saga)

    def _fork(self) -> _Spec:
        spec = _Spec()
        for saga in self._sagas.values():
            fresh = copy(saga)
            fresh.entries, fresh.inbox, fresh.seen = list(saga.entries), dict(saga.inbox), set(saga.seen)
            spec._sagas[fresh.id] = fresh
            spec._changed(fresh)
        spec._nodes, spec._noted = dict(self._nodes), dict(self._noted)
        return spec

    def key(self) -> Any:
        """Return all of the state, to be compared."""
        sagas = tuple(
            (
                *(saga.id, saga.owner, saga.held_by, saga.fence, saga.due_at, saga.risk, saga.summary.body),
                *(tuple(saga.entries), tuple(saga.inbox.values()), frozenset(saga.seen)),
            )
            for saga in self._sagas.values()
        )
        nodes = frozenset((row.id, row.dead) for row in self._nodes.values())
        return sagas, nodes, frozenset((node, tuple(noted)) for node, noted in self._noted.items())


def _agree(answer: Any, told: Any) -> bool:
    """Return whether an answer is what was told.

    A store may read what it gives after it was taken: a message that comes in between is in the record, and is told
    of the new owner as well.
    """
    if not (isinstance(answer, Claimed) and isinstance(told, Claimed)):
        return bool(answer == told)
    known = answer.record.messages
    return answer == replace(told, record=replace(told.record, messages=told.record.messages[: len(known)]))


def _now(call: Coroutine[Any, Any, Any]) -> Any:
    """Return what a call gives that never waits."""
    try:
        call.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("the specification waits")
