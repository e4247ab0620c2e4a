"""A coordinator and its participants without a network, a store or a clock: the pure core, driven one event at a time.

The participants keep a ledger of what really took effect. A world is judged by the ledger, not by what the
coordinator says of itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic_core import to_json

from saga.core import entries as e
from saga.core.commands import Asked, Command, judge
from saga.core.decider import Decision, Invoke, decide
from saga.core.entries import Entry
from saga.core.journal import evolve
from saga.core.messages import Callback, Told, fold, hear
from saga.core.outcomes import Outcome, Refused, Succeeded
from saga.core.settlement import child_started, lost, settle
from saga.core.state import SagaState, step_name
from saga.core.statuses import Status, StepStatus, UndoStatus
from saga.definition import parse_definition
from saga.language.fields import Phase
from saga.language.model import SagaDefinition
from saga.ports.stored import Message
from tests.invariants import check_entry, check_journal
from tests.visits import Transition, transitions

#: When every saga of a test starts, epoch seconds.
START = 1_700_000_000.0


def defined(*steps: dict[str, Any], **members: Any) -> SagaDefinition:
    """Return a definition of these steps; its one service is ``s``."""
    document = {"name": "booking", "services": {"s": {"url": "http://127.0.0.1:1"}}, **members}
    return parse_definition({**document, "steps": list(steps)}).definition


def call(path: str = "/do", **members: Any) -> dict[str, Any]:
    """Return a call of the service."""
    return {"service": "s", "path": path, "body": {"id": "${key}"}, **members}


def step(name: str, after: list[str] | None = None, **members: Any) -> dict[str, Any]:
    """Return a step with an action and a compensation, unless it says otherwise; ``no_undo`` leaves that out."""
    made: dict[str, Any] = {"name": name} | ({} if after is None else {"after": after})
    if not members.keys() & {"wait", "signal", "fail", "saga", "worker", "action"}:
        made["action"] = call(f"/{name}")
    if not members.keys() & {"wait", "signal", "fail", "saga", "compensation"} and not members.pop(
        "no_undo", False
    ):
        made["compensation"] = call(f"/{name}/undo")
    members.pop("no_undo", None)
    return made | members


class Wire(NamedTuple):
    """A request on its way, or a task or child in hand."""

    unit: str
    phase: Phase
    attempt: int
    #: When nothing of it is on the wire any more.
    until: float
    via: str


class Ghost(NamedTuple):
    """A request whose coordinator has given it up, and which reaches its participant all the same."""

    at: float
    unit: str
    phase: Phase
    #: It comes so late that only a participant's own guard can tell.
    guarded: bool


@dataclass(slots=True)
class Ledger:
    """What really took effect at the participants."""

    effects: frozenset[str] = frozenset()
    #: Compensated: only a participant with a guard takes no action after that.
    undone: frozenset[str] = frozenset()
    #: Refused for good: a verdict under the key, which every participant keeps to.
    refused: frozenset[str] = frozenset()

    def take(self, unit: str, phase: Phase, *, guarded: bool = False) -> None:
        """Execute a request."""
        if phase == "compensation":
            self.effects -= {unit}
            self.undone |= {unit}
        elif unit not in self.refused and not (guarded and unit in self.undone):
            self.effects |= {unit}

    def refuse(self, unit: str) -> None:
        """Give a verdict under the key."""
        self.refused |= {unit}


class Hangs(AssertionError):
    """Nothing is on its way, and nothing will ever happen."""


@dataclass(slots=True)
class World:
    """One saga, its requests on the wire, and its participants."""

    definition: SagaDefinition
    state: SagaState
    now: float
    journal: list[Entry] = field(default_factory=list)
    wires: list[Wire] = field(default_factory=list)
    ghosts: list[Ghost] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)
    #: Digest of each invocation's first request, and its bytes.
    bytes_of: dict[tuple[str, Phase], tuple[str, bytes | None]] = field(default_factory=dict)
    #: What was sent, in order: ``(unit, phase)``.
    sent: list[tuple[str, Phase]] = field(default_factory=list)
    wake_at: float | None = None
    messages: int = 0
    #: Every transition that any world has taken.
    visited: ClassVar[set[Transition]] = set()

    @classmethod
    def start(cls, definition: SagaDefinition, **members: Any) -> World:
        """Return a world whose saga has just been started, before its first turn."""
        deadline = None if definition.timeout is None else START + definition.timeout
        due = None if definition.due is None else START + definition.due
        started = e.SagaStarted(
            **{"at": START, "saga": "s1", "definition": definition.name, "version": 1, "input": {},
               "deadline": deadline, "due": due} | members
        )  # fmt: skip
        return cls(definition=definition, state=evolve(None, started), now=START, journal=[started])

    def copy(self) -> World:
        """Return the same world, to go on differently."""
        return World(
            self.definition, self.state, self.now, self.journal[:], self.wires[:], self.ghosts[:],
            Ledger(self.ledger.effects, self.ledger.undone, self.ledger.refused), dict(self.bytes_of), self.sent[:],
            self.wake_at, self.messages,
        )  # fmt: skip

    # ------------------------------------------------------------------- the coordinator

    def apply(self, *entries: Entry) -> None:
        """Record entries, and check what must hold of each."""
        for entry in entries:
            before, self.state = self.state, evolve(self.state, entry)
            self.visited.update(transitions(before, entry, self.state))
            check_entry(self.definition, before, entry, self.state)
            self.journal.append(entry)

    def turn(self) -> Decision:
        """Decide, record, send."""
        decision = decide(self.definition, self.state, self.now)
        self.apply(*decision.facts)
        assert self.state == decision.state, "6: the decider's state is not the recorded one"
        for invoke in decision.invocations:
            self._send(invoke)
        self.wake_at = decision.wake_at
        assert self.wake_at is None or self.wake_at > self.now, "10: due already, and not done"
        self.check_moves()
        return decision

    def _send(self, invoke: Invoke) -> None:
        intent = invoke.intent
        self.apply(intent)
        self.sent.append((intent.step, intent.phase))
        if invoke.request is not None:
            said = (invoke.request.method + invoke.request.target, invoke.request.body)
            first = self.bytes_of.setdefault((intent.step, intent.phase), said)
            assert first == said, f"7: {intent.step}:{intent.phase} was sent with other bytes"
        until = self.now + (intent.timeout or 10.0)
        self.wires.append(Wire(intent.step, intent.phase, intent.attempt, until, intent.via))

    def check_moves(self) -> None:
        """Assert that a saga that needs nobody has something on its way."""
        state = self.state
        if state.ended or state.status in (Status.PARKED, Status.PAUSED) or self.wake_at is not None:
            return
        if any(True for _ in state.open_invocations()) or self.waits_for_others():
            return
        raise Hangs(f"10: {state.status}, and nothing will ever happen")

    def waits_for_others(self) -> bool:
        """Return whether a signal or a child is awaited, for as long as it takes."""
        for unit in self.state.steps.values():
            kind = self.definition.step(step_name(unit.name)).kind
            waits = unit.status is StepStatus.WAITING and unit.until is None
            if waits and (kind == "signal" or unit.action.child is not None):
                return True
            if unit.undo_status is UndoStatus.WAITING and unit.undo.child is not None:
                return True
        return False

    # ------------------------------------------------------------------- what happens to it

    def answer(self, wire: Wire, outcome: Outcome, *, effect: bool = False) -> None:
        """Answer a request, having executed it or not."""
        self.wires.remove(wire)
        if effect:
            self.ledger.take(wire.unit, wire.phase)
        self.apply(
            *settle(
                self.definition, self.state, wire.unit, wire.phase, outcome, self.now, attempt=wire.attempt
            )
        )
        self.turn()

    def succeed(self, wire: Wire) -> None:
        """Let the participant do what it is asked, unless it has said under this key that it never will."""
        if self.keeps_to_its_no(wire.unit, wire.phase):
            self.answer(wire, Refused(detail="answered 402", declared=True, status=402))
            return
        self.answer(wire, Succeeded(body={"of": wire.unit}, status=200), effect=True)

    def keeps_to_its_no(self, unit: str, phase: Phase) -> bool:
        """Return whether the participant has given a verdict, to which it keeps under that key."""
        return phase == "action" and unit in self.ledger.refused

    def poll(self, unit: str, phase: Phase, outcome: Outcome) -> None:
        """Hear the outcome of a pending invocation by asking for it."""
        self.apply(*settle(self.definition, self.state, unit, phase, outcome, self.now))
        self.turn()

    def callback(
        self, unit: str, phase: Phase, outcome: Literal["succeeded", "refused"], *, effect: bool = False
    ) -> Told:
        """Hear a callback; return what its sender is told."""
        if effect and self.keeps_to_its_no(unit, phase):
            outcome, effect = "refused", False
        if effect:
            self.ledger.take(unit, phase)
        callback = Callback(step=unit, phase=phase, outcome=outcome, output={"of": unit}, error="no")
        told, found = hear(self.definition, self.state, callback, self.now)
        self.apply(*found)
        self.turn()
        return told

    def take_over(self) -> list[Wire]:
        """Let another coordinator take the saga over; return what its last owner had on the wire."""
        for unit, phase in tuple(self.state.open_invocations()):
            self.apply(*lost(self.definition, self.state, unit.name, phase, self.now))
        left = [wire for wire in self.wires if wire.via != "worker"]
        self.wires = [wire for wire in self.wires if wire.via == "worker"]
        self.turn()
        return left

    def command(self, command: Command, step: str | None = None, outcome: Any = None) -> Entry:
        """Give a command; return its verdict."""
        asked = Asked(command=command, message=self._id(), at=self.now, step=step, outcome=outcome)
        verdict = judge(self.definition, self.state, asked)
        self.apply(verdict)
        self.turn()
        return verdict

    def message(self, kind: str, body: dict[str, Any]) -> tuple[Entry, ...]:
        """Fold a message; return what it became."""
        message = Message(id=self._id(), kind=kind, body=to_json(body), by="", at=self.now)
        found = fold(self.definition, self.state, message, self.now)
        self.apply(*found)
        self.turn()
        return found

    def signal(self, name: str, payload: Any = None) -> tuple[Entry, ...]:
        """Send a signal."""
        return self.message("signal", {"name": name, "payload": payload})

    def begin_child(self, wire: Wire) -> None:
        """Make the child saga, or ask it to undo itself."""
        self.wires.remove(wire)
        child = f"s1.{wire.unit}"
        self.apply(*child_started(self.state, wire.unit, wire.phase, wire.attempt, child, self.now))
        self.turn()

    def end_child(self, unit: str, status: str, *, effect: bool | None = None) -> None:
        """Hear that the child saga has ended."""
        if status in ("completed", "compensated"):
            done = status == "completed"
            self.ledger.take(unit, "action" if done else "compensation")
        self.message("child", {"step": unit, "child": f"s1.{unit}", "status": status, "output": {"of": unit}})

    def advance(self, to: float) -> None:
        """Let time pass until then; what is still on the wire from dead coordinators arrives on the way."""
        self.arrive(to)
        self.now = max(self.now, to)
        self.turn()

    def arrive(self, until: float) -> None:
        """Let every request that was given up and arrives by then reach its participant."""
        for ghost in sorted(self.ghosts):
            if ghost.at <= until:
                self.ghosts.remove(ghost)
                self.ledger.take(ghost.unit, ghost.phase, guarded=ghost.guarded)

    def _id(self) -> str:
        self.messages += 1
        return f"m{self.messages}"

    # ------------------------------------------------------------------- how it goes when nothing goes wrong

    def promises(self) -> list[tuple[str, Phase]]:
        """Return every invocation whose outcome was promised."""
        phases: tuple[Phase, Phase] = ("action", "compensation")
        return [
            (unit.name, phase)
            for unit in self.state.steps.values()
            for phase in phases
            if unit.invocation(phase).pending is not None
        ]

    def go_on(self) -> bool:
        """Let the next thing happen as it should; return False when nothing does."""
        if self.wires:
            self.succeed(self.wires[0])
        elif self.state.ended or self.state.status is Status.PARKED:
            return False
        elif promises := self.promises():
            self.callback(*promises[0], "succeeded", effect=True)
        elif self.state.status is Status.PAUSED:
            self.advance(self.now + 1000)
            self.command("resume")
        elif self.wake_at is not None:
            self.advance(self.wake_at)
        else:
            return False
        return True

    def run(self, limit: int = 200) -> World:
        """Let everything happen as it should, to the end."""
        for _ in range(limit):
            if not self.go_on():
                return self
        raise Hangs(f"10: still {self.state.status} after {limit} events")

    # ------------------------------------------------------------------- judgement

    def judge(self) -> None:
        """Assert the promise: wholly there, wholly undone, or parked with the reason; by the ledger."""
        self.arrive(float("inf"))
        state, effects = self.state, self.ledger.effects
        check_journal(self.journal, state)
        sent = {name for name, phase in self.sent if phase == "action"}
        assert effects <= sent, "something took effect that was never sent"
        if state.status is Status.COMPLETED:
            kept = {unit for unit in sent if state.step(unit).status is not StepStatus.SKIPPED}
            wanted = {unit for unit in kept if state.step(unit).status is StepStatus.SUCCEEDED}
            assert effects & kept == wanted, f"completed with {sorted(effects)}, not {sorted(wanted)}"
        elif state.status is Status.COMPENSATED:
            left = {unit for unit in effects if self.definition.step(step_name(unit)).compensatable}
            assert not left, f"compensated, and {sorted(left)} is still there"
        elif state.status is Status.PARKED:
            assert state.parking is not None, "parked without a reason"
            assert state.parking.step is not None, "parked, and nobody knows where"
        else:
            assert state.status is Status.ABANDONED, f"it does not end: {state.status}"
        self._check_words(effects)

    def _check_words(self, effects: frozenset[str]) -> None:
        """Assert that what is said of each step is true, whatever the saga as a whole came to."""
        for unit in self.state.steps.values():
            kind = self.definition.step(step_name(unit.name)).kind
            if kind not in ("action", "worker", "saga") or unit.action.attempts == 0:
                continue
            amended = unit.undo_status in (UndoStatus.UNDONE, UndoStatus.RESOLVED)
            if unit.status is StepStatus.SUCCEEDED and unit.undo_status is UndoStatus.PENDING:
                assert unit.name in effects, f"{unit.name} is said to have succeeded"
            if unit.status is StepStatus.REFUSED or amended:
                assert unit.name not in effects, (
                    f"{unit.name} is said to be {unit.status}, {unit.undo_status}"
                )
