"""Who talks to the coordinators: clients that start sagas, persons that steer them, participants that call back.

What a person may ask of a saga is the table :data:`COMMANDS`: another row is another command. Persons tell the
truth: what they resolve they have looked up, or done by hand, at the participant.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from saga.core.entries import Entry
from saga.core.state import SagaState
from saga.core.statuses import Status, UndoStatus
from saga.ports.invoker import Invocation
from saga.ports.stored import Message
from saga.starts import identify
from tests.simulation.clock import BEGIN
from tests.simulation.coordinators import UNAVAILABLE, Process
from tests.simulation.loop import ProcessLoop
from tests.simulation.shapes import SHAPES

if TYPE_CHECKING:
    from tests.simulation.world import World

#: Seconds an answer is waited for, and a request takes one way.
PATIENCE, WIRE = 12.0, 0.003


@dataclass(frozen=True, slots=True)
class CalledBack:
    """A callback, and what its sender was told in the end."""

    saga: str
    step: str
    phase: str
    outcome: str
    told: str


@dataclass(slots=True)
class Told:
    """What those outside have been told: the coordinator is held to it."""

    #: Sagas whose start was acknowledged.
    started: set[str] = field(default_factory=set)
    #: Verdicts on commands, by the message.
    verdicts: list[tuple[str, Entry]] = field(default_factory=list)
    callbacks: list[CalledBack] = field(default_factory=list)


class Clients:
    """Everybody outside, on a loop of their own that never hangs."""

    def __init__(self, world: World) -> None:
        self._world, self._dice = world, world.timeline.dice
        self._loop = ProcessLoop(world.timeline)
        self._messages = 0
        self.told = Told()
        #: Clients that have not finished.
        self.busy = 0

    @property
    def loop(self) -> ProcessLoop:
        """The loop they live on."""
        return self._loop

    def spawn(self, work: Coroutine[Any, Any, None], seconds: float = 0.0) -> None:
        """Let a client go to work in so many seconds."""
        self.busy += 1

        async def working() -> None:
            await self._sleep(seconds)
            await work
            self.busy -= 1

        self._loop.create_task(working())

    # ----------------------------------------------------------------- the wire

    async def _sleep(self, seconds: float) -> None:
        future = self._loop.create_future()
        self._loop.call_later(seconds, lambda: future.done() or future.set_result(None))
        await future

    async def _ask(self, asked: Callable[[Process], Coroutine[Any, Any, Any]]) -> Any:
        """Ask a coordinator, whichever; None when no answer comes."""
        process = self._world.someone()
        await self._sleep(WIRE * self._dice.random())
        if process is None or not process.loop.alive or not process.ready:
            return None
        future: asyncio.Future[Any] = self._loop.create_future()
        lost = self._dice.random() < self._world.losing

        def answer(found: Any) -> None:
            if lost:
                self._world.fired["client: answer lost"] += 1
            else:
                self._world.timeline.after(WIRE * self._dice.random(), self._loop.receive, future, found)

        process.serve(asked(process), answer)
        timer = self._loop.call_later(PATIENCE, lambda: future.done() or future.set_result(None))
        found = await future
        timer.cancel()
        return found

    # ----------------------------------------------------------------- starts

    async def start(self, number: int) -> None:
        """Start a saga, and ask again under the same key until that is acknowledged."""
        dice, name = self._dice, f"s{number}"
        given = {"b": dice.random() < 0.7, "items": list(range(dice.randrange(4)))}
        key = (name, None) if dice.random() < 0.5 else (None, name)
        asked: dict[str, Any] = {"input": given, "identity": identify(*key, name.encode())}
        if dice.random() < 0.1:
            asked["start_at"] = BEGIN + self._world.timeline.now + dice.random() * 10
        definition = dice.choice(list(SHAPES))
        for tried in range(1000):
            self._world.fired["client: start repeated"] += tried > 0
            saga_id = await self._ask(lambda process: process.start(definition, **asked))
            if saga_id is not None:
                self.told.started.add(saga_id)
                return
            await self._sleep(0.3 + dice.random())

    # ----------------------------------------------------------------- commands and signals

    async def command(self) -> None:
        """Ask something of a saga, whichever."""
        sagas = sorted(self._world.store.kept._sagas)
        if not sagas:
            return
        name = self._dice.choices(_NAMES, _WEIGHTS)[0]
        await self.ask(self._dice.choice(sagas), name)

    async def ask(self, saga_id: str, name: str) -> None:
        """Ask this of this saga, until there is an answer or patience ends."""
        state = self._world.state(saga_id)
        body = COMMANDS[name][1](self._world, state)
        if body is None:
            return
        self._world.fired[f"command: {name}"] += 1
        kind = "signal" if name == "signal" else "command"
        for _ in range(3):
            message = self._message(kind, body)
            found = await self._ask(lambda process, message=message: process.message(saga_id, message))
            if isinstance(found, Entry):
                self.told.verdicts.append((saga_id, found))
            if found not in (None, UNAVAILABLE):
                return
            await self._sleep(1.0)

    def _message(self, kind: str, body: dict[str, Any]) -> Message:
        self._messages += 1
        at = round(BEGIN + self._world.timeline.now, 3)
        return Message(id=f"m{self._messages}", kind=kind, body=to_json(body), by="person", at=at)

    # ----------------------------------------------------------------- callbacks

    def call_back(self, sent: Invocation, body: dict[str, Any]) -> None:
        """Tell the outcome of what was accepted, until it is heard."""
        self.spawn(self._call_back(sent, body))

    async def _call_back(self, sent: Invocation, body: dict[str, Any]) -> None:
        assert sent.callback is not None
        url = sent.callback
        for _ in range(1000):
            told = await self._ask(lambda process: process.callback(url, body))
            if told not in (None, UNAVAILABLE):
                break
            await self._sleep(0.5 + self._dice.random())
        self.told.callbacks.append(CalledBack(sent.saga_id, sent.step, sent.phase, body["outcome"], told))
        if told == "taken" and body["outcome"] == "succeeded" and self._dice.random() < self._world.losing:
            self._world.fired["participant: contradicts itself"] += 1
            await self._call_back(sent, {"outcome": "refused", "error": "no, after all"})


# --------------------------------------------------------------------------- what persons ask


def _plain(command: str) -> Ask:
    return lambda _world, _state: {"command": command, "reason": "drawn"}


def _on_step(command: str) -> Ask:
    def ask(world: World, state: SagaState) -> dict[str, Any]:
        steps = [step.name for step in SHAPES[state.definition].steps]
        return {"command": command, "step": world.timeline.dice.choice(steps)}

    return ask


def _resolve(world: World, state: SagaState) -> dict[str, Any] | None:
    """Find out about a parked step, or see to it by hand, and say so."""
    parking, books = state.parking, world.participants
    if state.status is not Status.PARKED or parking is None or parking.step is None:
        return None
    name = parking.step
    if state.step(name).undo_status is UndoStatus.FAILED:
        books.by_hand(state.id, name)
        return {"command": "resolve", "step": name, "outcome": "undone"}
    if books.ledger.stands(state.id, name):
        return {"command": "resolve", "step": name, "outcome": "succeeded", "output": {"of": name}}
    books.by_hand(state.id, name)
    return {"command": "resolve", "step": name, "outcome": "refused"}


def _signal(world: World, state: SagaState) -> dict[str, Any] | None:
    return {"name": "go", "payload": {"yes": True}} if state.definition == "signal" else None


Ask = Callable[["World", SagaState], dict[str, Any] | None]

#: Weight and maker of the body by name; None: it is not asked now.
COMMANDS: Mapping[str, tuple[float, Ask]] = {
    "pause": (4, _plain("pause")),
    "resume": (4, _plain("resume")),
    "cancel": (4, _plain("cancel")),
    "retry": (3, _plain("retry")),
    "skip": (1, _on_step("skip")),
    "resolve": (3, _resolve),
    "abandon": (1, _plain("abandon")),
    "signal": (4, _signal),
}
_NAMES, _WEIGHTS = list(COMMANDS), [weight for weight, _ in COMMANDS.values()]

#: Every name by which what clients do is counted.
KINDS = [
    "client: answer lost",
    "client: start repeated",
    "participant: contradicts itself",
    *(f"command: {name}" for name in COMMANDS),
]
