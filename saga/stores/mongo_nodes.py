"""The nodes of a MongoDB store: what they show of themselves, and what becomes of their sagas when they leave or die.

A node's document bears its ``beat``, whether it is ``dead``, and what it has ``noted`` for evaluation. Releasing is
done saga by saga, each in one change, and what was interrupted is gone on with by whoever looks next: a saga that was
released does not answer to the search any more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from saga.ports.stored import AT_ONCE, EXPORT_OWNER, ORPHANED, SUSPECT, NodeRow
from saga.stores.mongo_driver import Collection
from saga.stores.mongo_terms import Change, Document

# What a release sets is arithmetic of the server's, because nobody has read what is released. A saga is due at once:
# its owner may have left calls open, and its clock may have been ahead.
_AT_ONCE: Final = {"due_at": {"$min": ["$due_at", {"$subtract": ["$updated_at", AT_ONCE]}]}}
_ORPHANED: Final = {"fence": {"$add": ["$fence", 1]}, "risk": {"$max": ["$risk", ORPHANED]}}
#: The first owner that can be no export under way, after those that are.
_AFTER_EXPORTS: Final = EXPORT_OWNER[:-1] + chr(ord(EXPORT_OWNER[-1]) + 1)


def _release(**fields: Any) -> list[Document]:
    return [{"$set": _AT_ONCE | fields}, {"$unset": "owner"}]


async def join(nodes: Collection, node: str) -> None:
    """Make the node known."""
    await nodes.insert({"_id": node, "beat": 0, "dead": False, "noted": []})


async def beat(nodes: Collection, node: str, beat: int) -> bool:
    """Record a heartbeat of a living node; the beat that is kept never falls."""
    return await nodes.change({"_id": node, "dead": False}, {"$max": {"beat": beat}})


async def rows(nodes: Collection) -> Sequence[NodeRow]:
    """Return every node that is known."""
    found = await nodes.some({}, ("beat", "dead"), (("_id", 1),))
    return [NodeRow(id=row["_id"], beat=row["beat"], dead=row["dead"]) for row in found]


async def bury(nodes: Collection, node: str, beat: int) -> bool:
    """Mark the node dead if its beat has not moved."""
    return await nodes.change({"_id": node, "beat": beat}, {"$set": {"dead": True}})


async def evaluate(nodes: Collection, sagas: Collection, node: str, saga_ids: Sequence[str]) -> None:
    """Note what the node is about to evaluate; what it had noted before has done no harm."""
    row = await nodes.one({"_id": node, "dead": False}, ("noted",))
    if row is None:
        return
    harmless = sorted(set(row["noted"]).difference(saga_ids))
    if harmless:
        await sagas.change_all({"_id": {"$in": harmless}, "risk": {"$gt": 0}}, {"$set": {"risk": 0}})
    await nodes.change({"_id": node, "dead": False}, {"$set": {"noted": list(saga_ids)}})


async def release_dead(nodes: Collection, sagas: Collection) -> int:
    """Release what nobody living owns, under a higher fence; return how many sagas it was."""
    # A node makes itself known before it owns anything: so the owners are read first, and who is not known then is dead.
    owners = [owner async for owner in _owners(sagas)]
    found = await nodes.some({}, ("dead", "noted"))
    living = {row["_id"] for row in found if not row["dead"]}
    released = 0
    for row in found:
        if row["dead"] and row["noted"]:
            released += await _suspect(nodes, sagas, row)
    for owner in owners:
        if owner not in living:
            released += await sagas.change_all({"owner": owner}, _release(**_ORPHANED))
    return released


async def _suspect(nodes: Collection, sagas: Collection, row: Document) -> int:
    """Release what a dead node had noted for evaluation."""
    alone = int(len(row["noted"]) == 1)
    suspect = _ORPHANED | {"risk": {"$add": [{"$max": ["$risk", SUSPECT]}, alone]}}
    changes = [
        Change({"_id": saga_id, "owner": row["_id"]}, _release(**suspect)) for saga_id in sorted(row["noted"])
    ]
    answer = await sagas.bulk(changes)
    if not answer.errors:
        await nodes.change({"_id": row["_id"], "dead": True}, {"$set": {"noted": []}})
    return answer.done


async def _owners(sagas: Collection) -> AsyncIterator[str]:
    """Yield every owner there is, exports left out: one search for each, however much they own."""
    where: Document = {"$gte": ""}
    while (row := await sagas.one({"owner": where}, ("owner",), (("owner", 1),))) is not None:
        owner: str = row["owner"]
        if owner.startswith(EXPORT_OWNER):
            where = {"$gte": _AFTER_EXPORTS}
            continue
        yield owner
        where = {"$gt": owner}


async def leave(nodes: Collection, sagas: Collection, node: str) -> None:
    """Release what the node owns, and forget it."""
    await sagas.change_all({"owner": node}, _release())
    await nodes.remove({"_id": node})


async def forget(nodes: Collection, sagas: Collection) -> None:
    """Forget dead nodes that have nothing left: each process that was killed leaves one."""
    for row in await nodes.some({"dead": True, "noted": []}, ("_id",)):
        if await sagas.one({"owner": row["_id"]}, ("_id",)) is None:
            await nodes.remove({"_id": row["_id"], "dead": True})
