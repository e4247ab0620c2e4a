"""The participant's half of undoing: a guard around a service's own actions and compensations.

A coordinator sends every request at least once, and the network may repeat it, delay it or let it be
overtaken by its own undoing. :class:`Guard` makes that harmless. It decides **inside the local transaction
that also holds the business change**: what is remembered and what was done are committed together or not at
all, so there is no moment at which one is true without the other.

What it answers, by what is remembered under the action's key:

=============  ==================  =====================  ==========================================
delivered      action              compensation           answer
=============  ==================  =====================  ==========================================
action         nothing             nothing                the business decides (``run``)
action         answered            nothing                the same answer again (``replay``)
action         anything            answered               410, nothing is done (``late``)
compensation   nothing, refused    nothing                204, and it is remembered (``null``)
compensation   succeeded, 202      nothing                the business decides (``run``)
compensation   anything            answered               the same answer again (``replay``)
either         the key is remembered with other bytes     422, nothing is done (``reused``)
either         new work from an older fence               412, nothing is done (``stale``)
either         the ledger stays locked                    425, nothing is done (``busy``)
=============  ==================  =====================  ==========================================

Why these statuses:

* **410 for a late action**, even one that succeeded before it was undone. It must be a definite no: a coordinator
  that lost its memory of the compensation and asks again would take a replayed 201 for a reservation that no
  longer stands. It must not be 409, which after an uncertain attempt reads "the original is still at work".
* **425 while the ledger is locked**, never 409 or 429. Whoever holds the lock may be the original of this very
  request: a first 409 would be taken for a business no, and a 429 for "certainly not executed"; either would leave
  the original's effect behind with nobody to undo it. 425 promises nothing and asks for the same request again.
* **412 for an older fence**, and only where it would change something. It is true of this request alone: *it* did
  nothing. An answer that is remembered is given to an old owner as to anybody else.
* **204 for a null compensation**: what never took effect is undone. From then on its action is late.

What is remembered. Of an action: 2xx, 3xx and 4xx, but not 408, 409, 425, 429 and 5xx, which mean "ask again" and
are asked again of the business. Of a compensation: 2xx and 410; any other answer leaves the action undecided, so
that the next attempt may succeed. **Only a 2xx keeps the business change**: after any other answer the guard takes
the change back, and so a refusal never leaves half of an effect behind. An exception takes everything back,
nothing is remembered, and the framework's 500 makes the coordinator ask again.

A participant that answers **202** and does the work later calls :meth:`Guard.run` with a business function that
only notes the request, in the same transaction, and answers 202; duplicates get the same 202. When the work is
done it calls :meth:`Guard.settle` with the same delivery and the function that has the effect: the answer takes
the place of the 202, unless the action was compensated meanwhile (``late``: the function is not called). After the
commit it tells the coordinator. A compensation that finds the action still accepted is given its 202 in
:attr:`Turn.undoes` and withdraws the noted request.

The guard can only protect what is in its transaction: a mail, or a call to a third service, belongs after the
commit, or behind an idempotency key of its own. It does not isolate sagas from one another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from compensations.delivery import Answer, Delivery, Phase, problem
from compensations.ledger import Ledger, LedgerBusy, Remembered, Stored

Judgement: TypeAlias = Literal["run", "replay", "late", "null", "reused", "stale", "busy"]

#: Statuses that ask for the request again instead of answering it.
ASK_AGAIN: Final = frozenset({408, 409, 425, 429})

NULL: Final = Answer(204)
LATE: Final = problem(410, "late-action", "this action has been compensated; it is not executed any more")
REUSED: Final = problem(422, "key-reused", "this idempotency key was used with different bytes")
STALE: Final = problem(412, "stale-fence", "another coordinator has taken this saga over; nothing was done")
BUSY: Final = problem(
    425, "busy", "the ledger is locked; send the same request again", **{"retry-after": "1"}
)


def judge(delivery: Delivery, remembered: Remembered, *, settling: bool = False) -> Judgement:
    """Decide what to do with a delivery: the table at the top of this module, row by row."""
    own = remembered.of(delivery.phase)
    if delivery.phase == "action" and remembered.compensation is not None:
        return "late"
    if own is not None and own.digest != delivery.digest:
        return "reused"
    if own is not None:
        return "run" if settling and own.answer.status == 202 else "replay"
    if delivery.fence is not None and remembered.fence is not None and delivery.fence < remembered.fence:
        return "stale"
    if delivery.phase == "compensation" and not took_effect(remembered.action):
        return "null"
    return "run"


def took_effect(action: Stored | None) -> bool:
    """Whether there is something to undo: the action succeeded, or was accepted and may still succeed."""
    return action is not None and action.answer.succeeded


def is_final(phase: Phase, answer: Answer) -> bool:
    """Whether an answer is remembered, and so given again to every duplicate."""
    if phase == "compensation":
        return answer.succeeded or answer.status == 410
    return 200 <= answer.status < 500 and answer.status not in ASK_AGAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What a business function is told when it is its turn."""

    delivery: Delivery
    #: The answer the action was given, on its compensation; None on an action.
    undoes: Answer | None = None


#: Makes the business change, inside the guard's transaction, and answers.
Work: TypeAlias = Callable[[Turn], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What to send, and why."""

    judgement: Judgement
    answer: Answer


@dataclass(frozen=True, slots=True)
class Guard:
    """Executes each delivery at most once, and never after its compensation; see the module's table."""

    ledger: Ledger
    #: Refuse new work under a fence smaller than one seen of the same saga. It matters when two coordinators
    #: drive one saga after a restore; within one store the keys alone are enough.
    refuse_stale: bool = True

    def run(self, delivery: Delivery, work: Work) -> Verdict:
        """Answer a delivery; ``work`` is called only if its effect is due.

        Whatever ``work`` raises is raised here, after everything has been rolled back.
        """
        return self._enter(delivery, work, settling=False)

    def settle(self, delivery: Delivery, work: Work) -> Verdict:
        """Do what was accepted with a 202, and let the answer take its place.

        A delivery that is settled already is a ``replay``, and one that was compensated meanwhile is ``late``.
        When ``work`` raises, or asks for patience (5xx, 429 …), the 202 stands and this may be called again.
        """
        return self._enter(delivery, work, settling=True)

    def _enter(self, delivery: Delivery, work: Work, *, settling: bool) -> Verdict:
        try:
            with self.ledger.transaction():
                return self._turn(delivery, work, settling=settling)
        except LedgerBusy:
            return Verdict(judgement="busy", answer=BUSY)

    def _turn(self, delivery: Delivery, work: Work, *, settling: bool) -> Verdict:
        remembered = self.ledger.recall(delivery.action_key, delivery.saga_id)
        judgement = self._judge(delivery, remembered, settling=settling)
        self._note_fence(delivery, remembered)
        match judgement:
            case "run":
                answer = self._work(delivery, remembered, work)
            case "null":
                answer = NULL
                self.ledger.remember(delivery, answer)
            case _:
                answer = _standing(judgement, remembered.of(delivery.phase))
        return Verdict(judgement=judgement, answer=answer)

    def _judge(self, delivery: Delivery, remembered: Remembered, *, settling: bool) -> Judgement:
        if not self.refuse_stale:
            remembered = Remembered(action=remembered.action, compensation=remembered.compensation)
        return judge(delivery, remembered, settling=settling)

    def _note_fence(self, delivery: Delivery, remembered: Remembered) -> None:
        if delivery.saga_id is None or delivery.fence is None:
            return
        if remembered.fence is None or delivery.fence > remembered.fence:
            self.ledger.raise_fence(delivery.saga_id, delivery.fence)

    def _work(self, delivery: Delivery, remembered: Remembered, work: Work) -> Answer:
        undone = remembered.action if delivery.phase == "compensation" else None
        self.ledger.mark()
        answer = work(Turn(delivery=delivery, undoes=undone.answer if undone else None))
        if not answer.succeeded:
            self.ledger.rewind()
        self.ledger.release()
        if is_final(delivery.phase, answer):
            self.ledger.remember(delivery, answer)
        elif _failed_for_good(answer):
            # A compensation that was accepted and then failed: the next attempt has to start afresh, so the
            # 202 must not be replayed to it. The action's effect still stands, and so does its answer.
            self.ledger.forget(delivery)
        return answer


def _failed_for_good(answer: Answer) -> bool:
    return answer.status < 500 and answer.status not in ASK_AGAIN


def _standing(judgement: Judgement, own: Stored | None) -> Answer:
    """Return the answer to a delivery that changes nothing."""
    if judgement == "replay" and own is not None:
        return own.answer
    return {"late": LATE, "reused": REUSED, "stale": STALE}[judgement]
