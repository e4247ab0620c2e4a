"""Values to fill a store with, small and told apart by what a test cares about."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from saga.ports.store import Store
from saga.ports.stored import Append, Lease, Message, NewSaga, SagaStatus, Summary

NODE = "node-a"
OTHER = "node-b"
#: The newest format of journals that a node knows, where a test says nothing else.
KNOWN = 1


def summary(
    status: SagaStatus = "running",
    *,
    started_at: float = 100.0,
    updated_at: float | None = None,
    definition: str = "flight_booking",
    version: int = 1,
    late: bool = False,
    ended_at: float | None = None,
    labels: dict[str, str | float | int | bool] | None = None,
    body: bytes = b"{}",
) -> Summary:
    """Return a summary that was updated when it was started."""
    return Summary(
        status=status,
        late=late,
        definition=definition,
        version=version,
        started_at=started_at,
        updated_at=started_at if updated_at is None else updated_at,
        ended_at=ended_at,
        labels=labels or {},
        body=body,
    )


def new_saga(
    saga_id: str = "s1",
    *,
    owner: str | None = None,
    wake_at: float | None = 100.0,
    entries: Sequence[bytes] = (b"first",),
    of: Summary | None = None,
    start_key: str | None = None,
    fingerprint: str = "print",
    version: int = KNOWN,
) -> NewSaga:
    """Return a saga that nobody owns and that is due at 100.0; ``version`` is its journal's format."""
    return NewSaga(
        id=saga_id,
        start_key=start_key,
        fingerprint=fingerprint,
        entries=entries,
        summary=of or summary(),
        format=version,
        owner=owner,
        wake_at=wake_at,
    )


def batch(
    *entries: bytes,
    of: Summary | None = None,
    wake_at: float | None = 100.0,
    folded: Sequence[str] = (),
    release: bool = False,
    settles: Sequence[str] = (),
    raise_fence: bool = False,
) -> Append:
    """Return an append of these entries that keeps the saga owned and due."""
    return Append(
        entries=entries,
        summary=of or summary(),
        wake_at=wake_at,
        folded=folded,
        release=release,
        settles=settles,
        raise_fence=raise_fence,
    )


def message(
    message_id: str = "m1",
    *,
    about: str | None = None,
    at: float = 50.0,
    body: bytes = b"{}",
    by: str = "someone",
) -> Message:
    """Return a signal, or a callback when it is about an invocation."""
    return Message(
        id=message_id, kind="callback" if about else "signal", body=body, by=by, at=at, about=about
    )


async def owned_saga(
    store: Store,
    saga_id: str = "s1",
    node: str = NODE,
    wake_at: float | None = 100.0,
    version: int = KNOWN,
) -> Lease:
    """Start a saga that the node runs from the start; return its lease."""
    assert await store.start(new_saga(saga_id, owner=node, wake_at=wake_at, version=version)) is None
    return Lease(saga_id=saga_id, node=node, fence=1, seq=1)


async def one_turn() -> None:
    """Let everything that is ready run once."""
    turned = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(turned.set_result, None)
    await turned
