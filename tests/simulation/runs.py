"""Running worlds, and counting what came of them."""

from __future__ import annotations

import logging
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.simulation import clients, participants, store, wire
from tests.simulation import world as worlds
from tests.simulation.judge import judge
from tests.simulation.world import Ended, World

#: Every fault there is: a run in which one of them never fired has proved less than it seems.
KINDS: tuple[str, ...] = (
    *store.KINDS,
    *wire.KINDS,
    *participants.KINDS,
    *worlds.KINDS,
    *clients.KINDS,
    "store: LeaseLost",
    "store: MessagesWaiting",
)


class _Complaints(logging.Handler):
    """Keeps what coordinators complain of: errors no fault accounts for."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        where = "".join(traceback.format_exception(error)[-3:]) if error else ""
        self.found.append(f"logged: {record.getMessage()}{f': {error!r}' if error else ''}\n{where}".rstrip())


@contextmanager
def _listening() -> Iterator[list[str]]:
    """Hear nothing of coordinators but errors."""
    log, handler = logging.getLogger("saga"), _Complaints()
    level, propagate = log.level, log.propagate
    log.setLevel(logging.ERROR)
    log.propagate = False
    log.addHandler(handler)
    try:
        yield handler.found
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagate


def play(
    seed: object, *, coordinators: int | None = None, trace: list[tuple[float, str]] | None = None
) -> tuple[World, Ended]:
    """Run one world and judge it; return both. ``trace`` is given what was written and what befell whom."""
    began = time.process_time()
    with _listening() as logged:
        world = World(seed, coordinators=coordinators, trace=trace)
        ended = Ended(seed=seed, coordinators=world.count)
        try:
            world.run()
            ended.findings += judge(world)
        except Exception as error:  # noqa: BLE001 - whatever it is, the seed is worth to be known
            ended.findings.append(f"the world broke: {error!r}")
        finally:
            world.close()
        ended.findings += list(dict.fromkeys(logged))
    ended.digest = world.digest()
    for part in (world.fired, world.store.fired, world.wire.fired, world.participants.fired):
        ended.fired += part
    ended.fired += Counter({f"store: {name}": count for name, count in world.store.conflicts.items()})
    ended.ends += Counter(saga.summary.status for saga in world.store.kept._sagas.values())
    ended.seconds = time.process_time() - began
    return world, ended


@dataclass(slots=True)
class Tally:
    """What came of many worlds."""

    worlds: int = 0
    seconds: float = 0.0
    fired: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    coordinators: Counter[int] = field(default_factory=Counter)
    failed: list[Ended] = field(default_factory=list)

    def add(self, ended: Ended) -> None:
        """Count one world."""
        self.worlds += 1
        self.seconds += ended.seconds
        self.fired += ended.fired
        self.ends += ended.ends
        self.coordinators[ended.coordinators] += 1
        if ended.findings:
            self.failed.append(ended)

    @property
    def silent(self) -> list[str]:
        """Faults that never fired."""
        return [kind for kind in KINDS if not self.fired[kind]]

    def page(self) -> str:
        """Return what there is to tell."""
        rate = 60 * self.worlds / self.seconds if self.seconds else 0.0
        lines = [
            f"{self.worlds} worlds in {self.seconds:.1f} s of CPU: {rate:.0f} worlds/min",
            "coordinators   " + ", ".join(f"{n}: {count}" for n, count in sorted(self.coordinators.items())),
            "ends           " + ", ".join(f"{count} {end}" for end, count in self.ends.most_common()),
            "faults fired",
            *(f"  {self.fired[kind]:>8}  {kind}" for kind in KINDS),
        ]
        lines += [f"never fired: {', '.join(self.silent)}"] if self.silent else []
        lines.append(f"{len(self.failed)} worlds failed" + (":" if self.failed else ""))
        for ended in self.failed[:20]:
            lines += [f"  seed {ended.seed}: {ended.findings[0]}"]
        return "\n".join(lines)
