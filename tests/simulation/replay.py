"""One world told whole: for a person who studies what went wrong."""

from __future__ import annotations

from tests.simulation.runs import play
from tests.simulation.world import World

#: Writes of nodes about themselves: there are many, and they tell little.
_DULL = (" beat(", " evaluate(", " release_dead(")


def replayed(seed: int, coordinators: int | None) -> int:
    """Run the world again and tell all of it; return the exit code."""
    trace: list[tuple[float, str]] = []
    world, ended = play(seed, coordinators=coordinators, trace=trace)
    for at, text in sorted([*trace, *_requests(world)], key=lambda row: row[0]):
        if not any(word in text for word in _DULL):
            print(f"{at:>10.4f} {text}")
    for saga_id, saga in sorted(world.store.kept._sagas.items()):
        print(
            f"== {saga_id}: {saga.summary.status}, owner {saga.owner}, fence {saga.fence}, due {saga.due_at}"
        )
        for seq, body in enumerate(saga.entries, start=1):
            print(f"{seq:>4} {body.decode()}")
    print(f"{ended.coordinators} coordinators, skew {world.skew}, journals {ended.digest}")
    print(f"fired: {dict(ended.fired)}")
    for finding in ended.findings:
        print(f"FINDING {finding}")
    return 1 if ended.findings else 0


def _requests(world: World) -> list[tuple[float, str]]:
    found = [
        (row.at, f"sent {row.saga} {row.step}:{row.phase} {row.attempt}, fence {row.fence}, entry {row.seq}")
        for row in world.wire.sent
    ]
    return found + [
        (row.at, f"EFFECT of {row.saga} {row.step}:{row.phase} {row.attempt}")
        for row in world.participants.ledger.effects
    ]
