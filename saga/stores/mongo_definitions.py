"""Definitions in a MongoDB store: one document for each version; whether the name may be started stands in the latest."""

from __future__ import annotations

from saga.ports.stored import StoredDefinition
from saga.stores.mongo_driver import Collection
from saga.stores.mongo_terms import Document


async def put(
    definitions: Collection, name: str, document: bytes, at: float
) -> tuple[StoredDefinition, bool]:
    """Insert the next version unless the document is the latest, undeleted one.

    Of two versions that are put at once one gets the number; the other looks again.
    """
    while True:
        last = await definition(definitions, name)
        if last is not None and not last.deleted and last.document == document:
            return last, False
        what = {"name": name, "version": 1 if last is None else last.version + 1}
        made = {
            "_id": what,
            **what,
            "document": document,
            "created_at": float(at),
            "deleted": False,
        }
        if await definitions.insert(made):
            return _stored(made, made), True


async def delete(definitions: Collection, name: str) -> bool:
    """Let the latest version say that the name is deleted; versions stay, for the sagas that run."""
    while (last := await definition(definitions, name)) is not None and not last.deleted:
        where = {"name": name, "version": last.version, "deleted": False}
        if await definitions.change(where, {"$set": {"deleted": True}}):
            return True
    return False


async def definition(
    definitions: Collection, name: str, version: int | None = None
) -> StoredDefinition | None:
    """Return that version of a definition, or the latest."""
    found = await definitions.some({"name": name}, order=(("version", -1),), limit=1)
    if not found:
        return None
    last = found[0]
    if version is None or version == last["version"]:
        return _stored(last, last)
    if not 1 <= version < last["version"]:
        return None
    wanted = await definitions.one({"name": name, "version": version})
    return None if wanted is None else _stored(wanted, last)


async def all_latest(definitions: Collection) -> list[StoredDefinition]:
    """Return the latest version of every name that is not deleted."""
    heads = await definitions.some({}, ("name", "version", "deleted"), (("name", 1), ("version", 1)))
    last = {head["name"]: head for head in heads}
    wanted = [head["_id"] for head in last.values() if not head["deleted"]]
    found = await definitions.some({"_id": {"$in": wanted}}, order=(("name", 1),)) if wanted else []
    return [_stored(each, each) for each in found]


async def versions(definitions: Collection, name: str) -> list[StoredDefinition]:
    """Return every version of a name."""
    found = await definitions.some({"name": name}, order=(("version", 1),))
    return [_stored(each, found[-1]) for each in found]


def _stored(document: Document, last: Document) -> StoredDefinition:
    """Return a version; whether it may be started goes by the latest one."""
    return StoredDefinition(
        name=document["name"],
        version=document["version"],
        document=document["document"],
        created_at=document["created_at"],
        deleted=last["deleted"],
    )
