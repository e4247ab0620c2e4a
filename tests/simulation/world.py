"""One world: its coordinators, its store, its participants and its clients, until everything has come to its end."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from saga.core.encoding import decode
from saga.core.journal import replay
from saga.core.state import SagaState
from saga.stores.memory_rows import KeptName
from saga.worker import Limits
from tests.simulation import shapes
from tests.simulation.clients import Clients
from tests.simulation.clock import BEGIN
from tests.simulation.coordinators import Making, Process
from tests.simulation.loop import ProcessLoop, Timeline
from tests.simulation.participants import Participants
from tests.simulation.store import SimulatedStore
from tests.simulation.wire import SimulatedInvoker, Wire

#: Seconds after the last fault within which everything has to have come to its end, if clocks agree.
BOUND = 120.0
#: Seconds after which what has arrived last has been answered.
QUIET = 1.0
#: Seconds a silent coordinator is taken for alive.
TTL = 5.0
AT_REST = frozenset({"completed", "compensated", "abandoned", "parked"})


@dataclass(frozen=True, slots=True)
class Told:
    """A state that a coordinator says is durable."""

    saga: str
    state: SagaState


@dataclass(slots=True)
class Ended:
    """A world at its end."""

    seed: object
    coordinators: int
    #: Everything that is not as it was promised.
    findings: list[str] = field(default_factory=list)
    fired: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    #: Hash of every journal, byte for byte.
    digest: str = ""
    seconds: float = 0.0


class World:
    """Everything that is there, by one seed."""

    def __init__(
        self, seed: object, *, coordinators: int | None = None, trace: list[tuple[float, str]] | None = None
    ) -> None:
        self.seed = seed
        # Ids of traces are drawn from here.
        random.seed(f"{seed}")
        self.timeline = Timeline(seed)
        self.dice = self.timeline.dice
        self.count = coordinators or self.dice.choice((1, 2, 2, 3, 3))
        self.fired: Counter[str] = Counter()
        self.told: list[Told] = []
        self.processes: list[Process] = []
        self.dead: list[ProcessLoop] = []
        self._named = 0
        #: Parked sagas a person will decide about at the end.
        self._decisions = self.dice.choice((0, 2, 5))
        #: Seconds clocks may be wrong.
        self.skew = self.dice.choices((0.0, 2.0, 20.0, 3600.0), (40, 43, 14, 3))[0]
        #: Share of answers to clients that are lost.
        self.losing = self.dice.choice((0.0, 0.1, 0.3))
        self.limits = Limits(running=self.dice.choice((2, 5000)), calls=self.dice.choice((1, 3, 96)))
        self.store = SimulatedStore(self.timeline, rate=self.dice.choice((0.0, 0.02, 0.1, 0.25)))
        self.store.trace = trace
        #: What befalls whoever makes the so-manieth move, before it hears of it.
        self._at_move: dict[int, str] = {}
        self._moves = 0
        self.store.moved = self._moved
        # Sagas that take long are met by more of what happens.
        self.store.pace, pace = self.dice.choice(((0.002, 0.003), (0.03, 0.1), (0.2, 0.4)))
        self.clients = Clients(self)
        self.participants = Participants(
            self.timeline, self.clients.call_back, rate=self.dice.choice((0.0, 0.1, 0.3, 0.6))
        )
        self.wire = Wire(
            self.timeline, self.participants, self._length, rate=self.dice.choice((0.0, 0.05, 0.2)), pace=pace
        )
        self._parsed = {}
        for name, document, made in shapes.stored():
            self.store.kept._names[name] = KeptName(versions=[shapes.version(name, document)])
            self._parsed[name, 1] = made

    # ----------------------------------------------------------------- its story

    def run(self) -> None:
        """Live through the faults, and on until everything has come to its end, or should have."""
        dice, faulty = self.dice, self.dice.uniform(4.0, 20.0)
        for _ in range(self.count):
            self.launch()
        for number in range(dice.randint(1, 6)):
            self.clients.spawn(self.clients.start(number), dice.random() * faulty)
        for _ in range(dice.choice((0, 1, 3, 8))):
            self.clients.spawn(self.clients.command(), dice.random() * faulty)
        for _ in range(dice.choice((0, 1, 2, 4, 7))):
            name = dice.choices(_NAMES, _WEIGHTS)[0]
            if dice.random() < 0.6:
                self._at_move[dice.randint(1, 40)] = name
            else:
                self.timeline.at(dice.random() * faulty, self._befall, name)
        self.timeline.run(faulty)
        self._heal()
        self._go_on(faulty + BOUND)
        if not self.rests and not self._waiting():
            self._go_on(faulty + BOUND + 2 * self.skew)
        self.timeline.run(self.timeline.now + QUIET)

    def _go_on(self, until: float) -> None:
        while not self.rests and self.timeline.now < until:
            self._decide()
            self.timeline.run(self.timeline.now + 1.0)

    def _waiting(self) -> list[str]:
        """Return the sagas that have not ended, and not because they wait for a time that another's clock told."""
        now = BEGIN + self.timeline.now + min(process.clock.skew for process in self.living)
        return [
            saga_id
            for saga_id, saga in self.store.kept._sagas.items()
            if saga.summary.status not in AT_REST
            and (saga.owner or saga.inbox or (saga.due_at or 0.0) <= now or _is_open(self.state(saga_id)))
        ]

    @property
    def rests(self) -> bool:
        """Everything has come to its end, and nobody has anything more to say."""
        if self.clients.busy or self.timeline.under_way:
            return False
        return all(
            saga.summary.status in AT_REST and saga.owner is None and not saga.inbox
            for saga in self.store.kept._sagas.values()
        )

    def close(self) -> None:
        """Put away what is left of every process."""
        for loop in [self.clients.loop, *(process.loop for process in self.processes), *self.dead]:
            loop.bury()

    def _heal(self) -> None:
        self.store.rate = self.wire.rate = self.participants.rate = self.losing = 0.0
        self.store.away = False
        self._at_move.clear()
        for process in self.processes:
            process.loop.held, process.loop.left = False, None
        if not self.living:
            self.launch()

    def _decide(self) -> None:
        """Let a person see to what is paused, and to some of what is parked."""
        if not self.living:
            self.launch()
        for saga_id, saga in sorted(self.store.kept._sagas.items()):
            if saga.summary.status == "paused" and not self.clients.busy:
                self.clients.spawn(self.clients.ask(saga_id, "resume"))
            elif saga.summary.status == "parked" and self._decisions > 0:
                self._decisions -= 1
                name = self.dice.choice(("retry", "resolve", "resolve", "cancel", "abandon"))
                self.clients.spawn(self.clients.ask(saga_id, name))

    # ----------------------------------------------------------------- coordinators

    @property
    def living(self) -> list[Process]:
        """Coordinators that are there, hanging ones among them."""
        return [process for process in self.processes if process.loop.alive and not process.stopping]

    def someone(self) -> Process | None:
        """Return a coordinator, whichever."""
        living = self.living
        return self.dice.choice(living) if living else None

    def launch(self) -> None:
        """Start a coordinator that nobody has heard of before."""
        dice = self.dice
        self._named += 1
        node, offset, rate = f"n{self._named}", dice.random() * 1000, dice.uniform(0.99, 1.01)
        loop = ProcessLoop(self.timeline, name=node, offset=offset, rate=rate)
        process = Process(
            Making(
                loop=loop,
                store=self.store.seen_by(loop),
                invoker=SimulatedInvoker(self.wire, loop),
                node=node,
                ttl=TTL,
                skew=dice.uniform(-self.skew, self.skew),
                limits=self.limits,
                parsed=self._parsed,
                tell=lambda seen: self.told.append(Told(seen.state.id, seen.state)),
            )
        )
        loop.on_death = lambda: self._died(process)
        self.processes.append(process)
        process.begin()

    def _died(self, process: Process) -> None:
        self.processes.remove(process)
        self.dead.append(process.loop)
        if len(self.living) < self.count:
            self.timeline.after(self.dice.uniform(0.1, 4.0), self._relaunch)

    def _relaunch(self) -> None:
        if len(self.living) < self.count:
            self.launch()

    def _moved(self, sender: ProcessLoop) -> None:
        self._moves += 1
        name = self._at_move.pop(self._moves, None)
        if name is not None:
            self._befall(name, next((found for found in self.living if found.loop is sender), None))

    def _befall(self, name: str, process: Process | None = None) -> None:
        process = process or self.someone()
        if process is not None:
            self.fired[f"coordinator: {name}"] += 1
            if self.store.trace is not None:
                self.store.trace.append((self.timeline.now, f"{process.node} {name}"))
            FAULTS[name][1](self, process)

    # ----------------------------------------------------------------- sagas

    def state(self, saga_id: str) -> SagaState:
        """Return a saga as its journal tells."""
        return replay([decode(body) for body in self.store.kept._sagas[saga_id].entries])

    def _length(self, saga_id: str) -> int:
        saga = self.store.kept._sagas.get(saga_id)
        return 0 if saga is None else len(saga.entries)

    def digest(self) -> str:
        """Return a hash of all journals."""
        found = blake2b(digest_size=16)
        for saga_id, saga in sorted(self.store.kept._sagas.items()):
            found.update(saga_id.encode() + b"\n" + b"\n".join(saga.entries))
        return found.hexdigest()


def _is_open(state: SagaState) -> bool:
    return any(True for _ in state.open_invocations())


# --------------------------------------------------------------------------- what befalls a coordinator


def _crash(world: World, process: Process) -> None:
    """It dies within its next callbacks, wherever that is."""
    process.loop.left = world.dice.choice((1, world.dice.randint(1, 40), world.dice.randint(1, 400)))


def _hang(world: World, process: Process) -> None:
    """Nothing of it runs for longer than its lease; then it goes on with what it had in hand."""
    process.loop.held = True

    def go_on() -> None:
        process.loop.held = False

    world.timeline.after(world.dice.uniform(0.2, 4 * TTL), go_on)


def _suspend(world: World, process: Process) -> None:
    """Its machine is suspended, and its wall clock goes on where it had stood."""
    process.loop.held = True
    seconds = world.dice.uniform(TTL, 4 * TTL)

    def go_on() -> None:
        process.loop.held = False
        process.clock.skew -= seconds

    world.timeline.after(seconds, go_on)


def _leave(_world: World, process: Process) -> None:
    """It is stopped in good order, and another takes its place."""
    process.leave()


def _step_clock(world: World, process: Process) -> None:
    """Its wall clock is set."""
    process.clock.skew += world.dice.uniform(-3.0, 3.0)


def _outage(world: World, _process: Process) -> None:
    """The store is away for some seconds."""
    world.store.away = True

    def back() -> None:
        world.store.away = False

    world.timeline.after(world.dice.uniform(0.1, 2 * TTL), back)


#: Weight and fault by name.
FAULTS: Mapping[str, tuple[float, Callable[[World, Process], None]]] = {
    "dies": (5, _crash),
    "hangs": (4, _hang),
    "is suspended": (2, _suspend),
    "is stopped": (1, _leave),
    "clock is set": (1, _step_clock),
    "store is away": (1, _outage),
}
_NAMES, _WEIGHTS = list(FAULTS), [weight for weight, _ in FAULTS.values()]

#: Every name by which what befalls coordinators is counted.
KINDS = [f"coordinator: {name}" for name in FAULTS]
