"""What may be done to a coordinator, one thing at a time, and what must hold after each of them."""

from __future__ import annotations

from typing import Any, ClassVar

import saga.engine
from saga.core.decider import Decision, decide
from saga.core.state import SagaState
from saga.language.model import SagaDefinition
from tests.journals.shapes import INPUT
from tests.model.expected import DONE, ENDED, MAY_BECOME, expected, told
from tests.model.shown import invoked, replayed
from tests.model.starting import Known, Starting
from tests.model.wire import ANSWERS, POLLED, Held
from tests.served import Said
from tests.visits import Transition


class Story(Starting):
    """A coordinator, its participants and the model of both."""

    #: Every transition that any story has taken.
    visited: ClassVar[set[Transition]] = set()

    def __init__(self) -> None:
        super().__init__()
        #: Callbacks that were answered with 200, each by what it is about and what it said.
        self.accepted: set[tuple[tuple[str, str, str], tuple[str, Any]]] = set()
        #: Transitions taken by this story.
        self.taken: set[Transition] = set()
        #: What was done to the saga a path is about.
        self.log: list[str] = []
        #: Sagas that the coordinator cannot decide about, by a fault of its own.
        self.undecidable: set[str] = set()
        saga.engine.decide = self._decide  # type: ignore[assignment]

    def _decide(self, definition: SagaDefinition, state: SagaState, now: float) -> Decision:
        if state.id in self.undecidable:
            raise ArithmeticError("it was made to fail")
        return decide(definition, state, now)

    def close(self) -> None:
        """Stop everything, and remove it."""
        saga.engine.decide = decide
        super().close()

    # ----------------------------------------------------------------- commands

    def command(self, saga_id: str, name: str, **body: Any) -> Said:
        """Give a command, and hold its answer against the contract."""
        before = self.sagas[saga_id]
        wanted = expected(name, body, before.saga, before.journal, before.definition.pivot)
        answer = self.do(self.living.ask_patiently("POST", f"/v1/sagas/{saga_id}/{name}", body or None))
        got = DONE if answer.status == 200 else answer.type
        assert answer.status in (200, 409), f"{name} {body}: {answer.status} {answer.text}"
        assert got in wanted, f"{name} {body} was answered {got}, not {wanted}: {before.saga}"
        assert (answer.json if got == DONE else answer.json["saga"])["id"] == saga_id
        return answer

    # ----------------------------------------------------------------- participants

    @property
    def held(self) -> list[Held]:
        """Return the requests on the wire."""
        return [held for held in self.living.wire.held if not held.answer.done()]

    def answer(self, held: Held, word: str) -> None:
        """Let a participant answer."""
        held.answer.set_result(ANSWERS[word](held.sent))
        self.do(self.living.quiet())

    def answered(self, word: str, step: str, phase: str) -> None:
        """Let the participant of that step answer, if it is asked: jitter moves attempts about a little."""
        for held in self.held:
            if (held.sent.step, held.sent.phase) == (step, phase):
                self.answer(held, word)
                return

    def poll(self, word: str) -> None:
        """Let the next poll, if there is any in the next seconds, be answered so."""
        self.living.wire.polls = [POLLED[word]]
        self.pass_time(1.2)
        self.living.wire.polls = []

    def callback(self, about: tuple[str, str, str], outcome: str, value: Any = None) -> Said:
        """Call back."""
        path = "/v1/callbacks/" + self.living.seen.callbacks[about].rpartition("/")[2]
        said_so = {"outcome": outcome} | ({"output": value} if outcome == "succeeded" else {"error": "no"})
        answer = self.ask("POST", path, said_so)
        key = (about, (outcome, said_so.get("output")))
        assert answer.status in self._may_be_told(*key), f"{about} {outcome}: {answer.text}"
        if answer.status == 200:
            self.accepted.add(key)
        if about[0] in self.sagas:
            self.check()
        return answer

    def _may_be_told(self, about: tuple[str, str, str], said_so: tuple[str, Any]) -> set[int]:
        saga_id, name, phase = about
        if saga_id not in self.sagas:
            return {200, 404, 409, 410}
        known = self.sagas[saga_id].saga
        step = next(each for each in known["steps"] if each["name"] == name)
        # What was taken once is taken again, wherever the saga has gone since.
        again = {200} if (about, said_so) in self.accepted else set()
        return again | told(known, step, phase, said_so[0])

    def wrong_callback(self, about: tuple[str, str, str]) -> None:
        """Call back with a token that was altered."""
        token = self.living.seen.callbacks[about].rpartition("/")[2]
        altered = ("A" if token[0] != "A" else "B") + token[1:]
        answer = self.ask("POST", f"/v1/callbacks/{altered}", {"outcome": "succeeded"})
        assert (answer.status, answer.type) == (404, "callback-unknown")

    # ----------------------------------------------------------------- time and death

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self.do(self.living.pass_time(seconds))

    def restart(self) -> None:
        """Stop the coordinator in good order, and start it again."""
        self.do(self.living.restart())

    def crash(self) -> None:
        """Drop the coordinator, and start another on what the file holds."""
        self.do(self.living.crash())

    def crash_at_command(self, calls: int, saga_id: str, name: str) -> None:
        """Drop the coordinator while it takes a command, whose fate nobody knows then."""
        self.do(self.living.crash_at(calls, "POST", f"/v1/sagas/{saga_id}/{name}"))

    def crash_at_start(self, calls: int, name: str, key: str, variant: int) -> None:
        """Drop the coordinator while it takes a start; without an answer nobody knows whether there is a saga."""
        body = {"definition": name, "input": INPUT | {"variant": variant}}
        answer = self.do(self.living.crash_at(calls, "POST", "/v1/sagas", body, Idempotency_Key=key))
        if key not in self.keys and answer is None:
            self.keys[key] = (body, None)
        elif answer is not None:
            self._started(answer, name, key, body)

    def wake(self, saga_id: str) -> None:
        """Have the saga looked at, if this coordinator holds it."""
        self.do(self.living.wake(saga_id))

    # ----------------------------------------------------------------- what must hold

    def check(self) -> None:
        """Assert what must hold of every acknowledged saga."""
        for saga_id, known in self.sagas.items():
            shown = self.ask("GET", f"/v1/sagas/{saga_id}")
            assert shown.status == 200, f"9: an acknowledged start is gone: {shown.text}"
            journal = self._journal(saga_id)
            if shown.json != known.saga or journal != known.journal:
                self._check(known, shown.json, journal)

    def _check(self, known: Known, now: Any, journal: list[Any]) -> None:
        assert now["status"] in MAY_BECOME[known.status], f"{known.status} became {now['status']}"
        assert (known.saga["direction"], now["direction"]) != ("backward", "forward")
        assert journal[: len(known.journal)] == known.journal, "an entry has changed, or is gone"
        taken = replayed(known.definition, now, journal)
        self.taken |= taken
        self.visited.update(taken)
        sent = {request[1:] for request in self.living.seen.requests if request[0] == known.id}
        assert sent <= invoked(journal), "7: a request has no intent"
        known.saga, known.journal = now, journal

    def _journal(self, saga_id: str) -> list[Any]:
        items: list[Any] = []
        cursor = ""
        while cursor is not None:
            page = self.ask("GET", f"/v1/sagas/{saga_id}/journal?limit=200{cursor}").json
            items += page["items"]
            cursor = None if page["next"] is None else f"&cursor={page['next']}"
        return items

    def finish(self) -> None:
        """Let everybody answer in the end, and assert that every saga ends, or is parked for a person."""
        self.undecidable.clear()
        for _ in range(60):
            self.check()
            alive = [known for known in self.sagas.values() if known.status not in (*ENDED, "parked")]
            if not alive:
                return
            for known in alive:
                if known.status == "paused":
                    self.command(known.id, "resume")
            for held in self.held:
                self.answer(held, "yes")
            self.pass_time(15.0)
        raise AssertionError(f"10: no end in sight: {[known.saga for known in alive]}")
