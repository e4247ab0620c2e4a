"""One world told whole: for a person who studies what went wrong."""

from __future__ import annotations

from tests.simulation.runs import play


def replayed(seed: int, coordinators: int | None) -> int:
    """Run the world again and tell all of it; return the exit code."""
    world, ended = play(seed, coordinators=coordinators)
    for saga_id, saga in sorted(world.store.kept._sagas.items()):
        print(
            f"== {saga_id}: {saga.summary.status}, owner {saga.owner}, fence {saga.fence}, due {saga.due_at}"
        )
        for seq, body in enumerate(saga.entries, start=1):
            print(f"{seq:>4} {body.decode()}")
        rows = [
            (row.at, f"sent {row.step}:{row.phase} {row.attempt}, fence {row.fence}, after entry {row.seq}")
            for row in world.wire.sent
            if row.saga == saga_id
        ]
        rows += [
            (row.at, f"EFFECT of {row.step}:{row.phase} {row.attempt}")
            for row in world.participants.ledger.effects
            if row.saga == saga_id
        ]
        for at, text in sorted(rows):
            print(f"     {at:>9.3f} {text}")
    print(f"{ended.coordinators} coordinators, wild {world.wild}, skew {world.skew}, journals {ended.digest}")
    print(f"fired: {dict(ended.fired)}")
    for finding in ended.findings:
        print(f"FINDING {finding}")
    return 1 if ended.findings else 0
