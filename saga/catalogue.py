"""Definitions as the store keeps them, parsed once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic_core import from_json, to_json

from saga.definition import load_definition, parse_definition
from saga.errors import DefinitionInvalid, NotYetExecuted, Problem, UnreadableJournal
from saga.language.checks import not_yet_executed
from saga.language.model import SagaDefinition
from saga.ports.clock import Clock
from saga.ports.store import Definitions
from saga.ports.stored import StoredDefinition

#: Parsed definitions kept; a running saga holds its own besides.
KEPT = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of a definition, parsed."""

    name: str
    version: int
    definition: SagaDefinition
    #: Epoch seconds.
    created_at: float
    #: There are no new starts of the name; what runs goes on.
    deleted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """What became of a definition that was put."""

    version: Version
    #: False when it equals the latest version, which it is then.
    created: bool
    warnings: tuple[Problem, ...]


class Catalogue:
    """Parses, stores and finds definitions.

    What finds one raises :class:`~saga.errors.UnreadableJournal` when this release cannot read what is stored.
    """

    def __init__(self, store: Definitions, clock: Clock, services: frozenset[str]) -> None:
        self._store, self._clock = store, clock
        #: Names of services that the server's settings address.
        self.services = services
        self._parsed: dict[tuple[str, int], SagaDefinition] = {}
        self._latest: dict[str, Version] = {}
        #: Counts what was put and deleted, so that a read under way meanwhile is not kept.
        self._changes = 0

    def check(
        self, document: object, lines: Mapping[str, int] | None = None
    ) -> tuple[SagaDefinition, tuple[Problem, ...]]:
        """Return the definition and its warnings.

        Raises :class:`~saga.errors.DefinitionInvalid`, or :class:`~saga.errors.NotYetExecuted` for one that a
        later release will run.
        """
        parsed = parse_definition(document, lines=lines, services=self.services)
        if problems := not_yet_executed(parsed.definition):
            raise NotYetExecuted(problems)
        return parsed.definition, parsed.warnings

    async def put(self, definition: SagaDefinition, warnings: tuple[Problem, ...] = ()) -> Put:
        """Store a checked definition as the next version, unless it equals the latest."""
        stored, created = await self._store.put_definition(
            definition.name, stored_form(definition), self._clock.now()
        )
        self._changed(definition.name)
        self._keep((stored.name, stored.version), definition)
        version = Version(
            name=stored.name,
            version=stored.version,
            definition=definition,
            created_at=stored.created_at,
            deleted=stored.deleted,
        )
        return Put(version=version, created=created, warnings=warnings)

    async def preview(self, definition: SagaDefinition) -> tuple[int, bool]:
        """Return which version :meth:`put` would give, and whether it would be new."""
        latest = await self._store.definition(definition.name)
        if latest is None:
            return 1, True
        same = not latest.deleted and latest.document == stored_form(definition)
        return (latest.version, False) if same else (latest.version + 1, True)

    async def find(self, name: str, version: int | None = None) -> Version | None:
        """Return that version, or the latest, None when there is none."""
        stored = await self._store.definition(name, version)
        return None if stored is None else self._version(stored)

    async def latest(self, name: str) -> Version | None:
        """Return the latest version; asked for once where nobody else can put another."""
        kept = self._latest.get(name)
        if kept is not None:
            return kept
        changes = self._changes
        found = await self.find(name)
        if found is not None and not self._store.shared and changes == self._changes:
            self._latest[name] = found
        return found

    async def delete(self, name: str) -> bool:
        """Allow no new starts of the name; False when there is none or it is deleted already."""
        deleted = await self._store.delete_definition(name)
        self._changed(name)
        return deleted

    async def all(self) -> list[Version]:
        """Return the latest version of every definition that is not deleted, by name."""
        return [self._version(stored) for stored in await self._store.definitions()]

    async def versions(self, name: str) -> list[StoredDefinition]:
        """Return every version of a name, oldest first."""
        return list(await self._store.versions(name))

    def _changed(self, name: str) -> None:
        self._changes += 1
        self._latest.pop(name, None)

    def _version(self, stored: StoredDefinition) -> Version:
        return Version(
            name=stored.name,
            version=stored.version,
            definition=self._parse((stored.name, stored.version), stored.document),
            created_at=stored.created_at,
            deleted=stored.deleted,
        )

    async def running(self, name: str, version: int) -> SagaDefinition | None:
        """Return the definition a saga runs by: fixed for ever, so it is asked for once."""
        kept = self._parsed.get((name, version))
        if kept is not None:
            return kept
        found = await self.find(name, version)
        return None if found is None else found.definition

    def _parse(self, key: tuple[str, int], document: bytes) -> SagaDefinition:
        if key not in self._parsed:
            try:
                # A stored document was checked by the rules of its day; services are looked up when it runs.
                self._keep(key, load_definition(from_json(document)))
            except (DefinitionInvalid, ValueError) as error:
                name, version = key
                raise UnreadableJournal(
                    f"this release cannot read the definition {name} {version}"
                ) from error
        return self._parsed[key]

    def _keep(self, key: tuple[str, int], definition: SagaDefinition) -> None:
        self._parsed[key] = definition
        if len(self._parsed) > KEPT:
            del self._parsed[next(iter(self._parsed))]


def stored_form(definition: SagaDefinition) -> bytes:
    """Return the document as it is stored: normalised JSON, the same text for equal definitions."""
    return to_json(definition.document())
