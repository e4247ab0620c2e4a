"""The participants of a world: real guards around a business that says no, forgets to answer, or takes its time.

What happens to a request is its fate, drawn from the table :data:`FATES`: another row is another way to misbehave.
Whether the business says no is drawn once for each key, and kept, as a real one would.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from pydantic_core import to_json

from compensations.barrier import Guard, Turn
from compensations.delivery import Answer, Delivery, digest
from saga.ports.invoker import Answer as Reply
from saga.ports.invoker import Answered, Invocation, NoAnswer, Poll
from tests.simulation.ledger import Effect, MemoryLedger
from tests.simulation.loop import Timeline

#: Seconds anything that is late takes, at most.
LATEST = 8.0
#: Share of actions and of compensations the business will never do.
REFUSED, STUBBORN = 0.06, 0.03
_JSON = {"content-type": "application/json"}


@dataclass(slots=True, eq=False)
class Request:
    """One request as it has arrived."""

    sent: Invocation
    #: Sends the answer back; only the first counts.
    reply: Callable[[Reply], None]
    delivery: Delivery

    @property
    def key(self) -> str:
        """The idempotency key."""
        return self.sent.key


@dataclass(slots=True)
class Participants:
    """Every service of a world."""

    timeline: Timeline
    #: Tells a coordinator, whichever, the outcome of what was accepted.
    call_back: Callable[[Invocation, dict[str, Any]], None]
    #: Share of requests that meet a fate of their own, 0 to 1.
    rate: float = 0.0
    fired: Counter[str] = field(default_factory=Counter)
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    #: Keys the business will never do, or will.
    refuses: dict[str, bool] = field(default_factory=dict)
    #: Keys of requests that have arrived and are still being worked on.
    at_work: Counter[str] = field(default_factory=Counter)
    #: Outcomes of what was accepted and is asked for, by key.
    outcomes: dict[str, Answer] = field(default_factory=dict)
    _guard: Guard = field(init=False)

    def __post_init__(self) -> None:
        self._guard = Guard(self.ledger)

    # ----------------------------------------------------------------- what arrives

    def arrive(self, sent: Invocation, reply: Callable[[Reply], None]) -> None:
        """Let a request meet its fate."""
        path = sent.url.partition("//")[2].partition("/")[2]
        delivery = Delivery(
            phase=sent.phase,
            key=sent.key,
            action_key=sent.action_key or sent.key,
            digest=digest(sent.method, path, sent.body or b""),
            saga_id=sent.saga_id,
            step=sent.step,
            fence=sent.fence,
            attempt=sent.attempt,
        )
        request, dice = Request(sent, reply, delivery), self.timeline.dice
        if dice.random() < self.rate:
            name = dice.choices(_NAMES, _WEIGHTS)[0]
            if FATES[name][1](self, request):
                self.fired[f"participant: {name}"] += 1
                return
        if self.at_work[sent.key] and dice.random() < 0.3:
            self.fired["participant: still at work"] += 1
            reply(said(dice.choice((409, 425))))
            return
        reply(self.guarded(request))

    def poll(self, poll: Poll) -> Reply:
        """Answer a question about what was accepted."""
        key, dice = unquote(poll.url.rpartition("/")[2]), self.timeline.dice
        if dice.random() < self.rate:
            self.fired["participant: poll fails"] += 1
            return dice.choice((said(404), said(503), said(425), NoAnswer(detail="reset")))
        answer = self.outcomes.get(key)
        return said(202) if answer is None else _reply(answer)

    def later(self, least: float, most: float, do: Callable[..., Any], *args: Any) -> None:
        """Do it after so many seconds, somewhere between."""
        self.timeline.send(self.timeline.dice.uniform(least, most), do, *args)

    # ----------------------------------------------------------------- the guard and the business

    def guarded(self, request: Request) -> Answered:
        """Let the guard decide, and the business do it."""
        return _reply(self._guard.run(request.delivery, self.business).answer)

    def accepted(self, request: Request, answer: Answer) -> Answered:
        """Let the guard decide, and the business accept it for later."""
        return _reply(self._guard.run(request.delivery, lambda _: answer).answer)

    def settled(self, request: Request) -> Answer:
        """Do what was accepted, unless it was undone meanwhile."""
        return self._guard.settle(request.delivery, self.business).answer

    def business(self, turn: Turn) -> Answer:
        """Make the change, or say no."""
        delivery = turn.delivery
        if self._refuses(delivery):
            return _said(402 if delivery.phase == "compensation" or len(delivery.key) % 2 else 422)
        if turn.undoes is not None and turn.undoes.status == 202:
            return _said(200, {"of": delivery.step, "withdrawn": True})
        self._effect(delivery)
        return _said(200, {"of": delivery.step})

    def _refuses(self, delivery: Delivery) -> bool:
        if delivery.key not in self.refuses:
            share = STUBBORN if delivery.phase == "compensation" else REFUSED
            self.refuses[delivery.key] = self.rate > 0 and self.timeline.dice.random() < share
        if self.refuses[delivery.key]:
            kind = "undoing is refused" if delivery.phase == "compensation" else "refused"
            self.fired[f"participant: {kind}"] += 1
        return self.refuses[delivery.key]

    def _effect(self, delivery: Delivery) -> None:
        self.ledger.effects.append(
            Effect(
                self.timeline.now,
                delivery.saga_id or "",
                delivery.step or "",
                delivery.phase,
                delivery.key,
                delivery.attempt,
                delivery.fence or 0,
            )
        )

    def by_hand(self, saga: str, step: str) -> None:
        """Let a person undo the step's action, or see to it that it never happens."""
        key = f"{saga}:{step}:action"
        undo = f"{saga}:{step}:compensation"
        self.refuses[undo] = False
        undoing = Delivery(phase="compensation", key=undo, action_key=key, digest="", saga_id=saga, step=step)
        known = self.ledger.answers.get((key, "compensation"))
        if known is None:
            self._guard.run(undoing, self.business)
        elif known.answer.status == 202:
            self.settled(Request(None, lambda _: None, undoing))  # type: ignore[arg-type]


def said(status: int, **headers: str) -> Answered:
    """Return an answer without a body."""
    return Answered(
        status=status,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        body=b"",
    )


def _said(status: int, value: Any = None) -> Answer:
    return Answer(status, b"" if value is None else to_json(value), _JSON)


def _reply(answer: Answer) -> Answered:
    return Answered(status=answer.status, headers=answer.headers, body=answer.body)


# --------------------------------------------------------------------------- fates


def _instead(*statuses: int) -> Fate:
    """Answer so without having looked at the request."""

    def fate(them: Participants, request: Request) -> bool:
        status = them.timeline.dice.choice(statuses)
        headers = {"retry_after": "1"} if them.timeline.dice.random() < 0.3 else {}
        request.reply(said(status, **headers))
        return True

    return fate


def _lose(them: Participants, request: Request) -> bool:
    """Act, and say nothing."""
    them.guarded(request)
    return True


def _reset(them: Participants, request: Request) -> bool:
    """Act, and close the connection."""
    them.guarded(request)
    request.reply(NoAnswer(detail="reset"))
    return True


def _silent(them: Participants, request: Request) -> bool:
    """Do nothing, and say nothing."""
    return True


def _answer_late(them: Participants, request: Request) -> bool:
    """Act, and answer late."""
    them.later(0.5, LATEST, request.reply, them.guarded(request))
    return True


def _act_late(them: Participants, request: Request) -> bool:
    """Act late: the caller has long given it up."""
    them.at_work[request.key] += 1

    def act() -> None:
        them.at_work[request.key] -= 1
        request.reply(them.guarded(request))

    them.later(0.5, LATEST, act)
    return True


def _twice(them: Participants, request: Request) -> bool:
    """The network delivers it twice; the second time, perhaps, after everything else."""
    request.reply(them.guarded(request))
    them.later(0.0, LATEST, them.guarded, request)
    return True


def _broken(fault: Any) -> Fate:
    """Act, and answer with a body that is not whole."""

    def fate(them: Participants, request: Request) -> bool:
        done = them.guarded(request)
        if done.status == 200:
            done = Answered(status=200, headers=done.headers, body=b'{"of":', fault=fault)
        request.reply(done)
        return done.status == 200

    return fate


def _accept(them: Participants, request: Request, *, location: str | None, first: bool, times: int) -> bool:
    """Accept it (202), do it later, and tell the coordinator or be asked."""
    headers = {} if location is None else {"location": location}
    answer = them.accepted(request, Answer(202, b"", headers))
    if answer.status != 202:
        request.reply(answer)
        return False

    def settle() -> None:
        done = them.settled(request)
        them.outcomes[request.key] = done
        if location is None:
            body = _outcome(done)
            for _ in range(times):
                them.later(0.0, 0.1 if first else 2.0, them.call_back, request.sent, body)

    if first:
        settle()
        them.later(0.2, 1.5, request.reply, answer)
    else:
        request.reply(answer)
        them.later(0.05, LATEST, settle)
    return True


def _outcome(done: Answer) -> dict[str, Any]:
    if done.succeeded:
        return {"outcome": "succeeded", "output": {"status": done.status}}
    return {"outcome": "refused", "error": f"answered {done.status}"}


def _calls_back(them: Participants, request: Request) -> bool:
    return _accept(them, request, location=None, first=False, times=1)


def _calls_back_first(them: Participants, request: Request) -> bool:
    return _accept(them, request, location=None, first=True, times=1)


def _calls_back_twice(them: Participants, request: Request) -> bool:
    return _accept(them, request, location=None, first=False, times=2)


def _is_polled(them: Participants, request: Request) -> bool:
    location = f"/outcomes/{quote(request.key, safe='')}"
    return _accept(them, request, location=location, first=False, times=0)


Fate = Callable[[Participants, Request], bool]

#: Weight and fate by name; a fate returns whether it has really happened (if not, it has answered nothing or all).
FATES: Mapping[str, tuple[float, Fate]] = {
    "fails without acting": (3, _instead(500, 503, 502, 408)),
    "turns away": (1, _instead(403, 404, 302)),
    "too busy": (2, _instead(429)),
    "too early": (2, _instead(425)),
    "acts, the answer is lost": (3, _lose),
    "acts, the connection is reset": (2, _reset),
    "silent": (2, _silent),
    "acts, answers late": (2, _answer_late),
    "acts late": (4, _act_late),
    "delivered twice": (3, _twice),
    "answer is cut": (1, _broken("cut")),
    "answer drips": (1, _broken("slow")),
    "answer is no JSON": (1, _broken(None)),
    "accepted, calls back": (3, _calls_back),
    "accepted, calls back before the 202": (2, _calls_back_first),
    "accepted, calls back twice": (2, _calls_back_twice),
    "accepted, is polled": (3, _is_polled),
}
_NAMES, _WEIGHTS = list(FATES), [weight for weight, _ in FATES.values()]
_MORE = ("still at work", "poll fails", "refused", "undoing is refused")

#: Every name by which a fault of participants is counted.
KINDS = [f"participant: {name}" for name in (*FATES, *_MORE)]
