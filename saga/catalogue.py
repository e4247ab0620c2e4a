"""Definitions as the store keeps them, parsed once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json, to_json

from saga.definition import SagaDefinition, parse_definition
from saga.errors import Problem
from saga.ports import Clock, Store

#: Parsed definitions kept; a running saga holds its own besides.
KEPT = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of a definition, parsed."""

    name: str
    version: int
    definition: SagaDefinition
    created_at: float
    deleted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """What became of a definition that was put."""

    version: Version
    created: bool
    warnings: tuple[Problem, ...]


class Catalogue:
    """Parses, stores and finds definitions."""

    def __init__(self, store: Store, clock: Clock, services: frozenset[str]) -> None:
        self._store, self._clock = store, clock
        #: Names of services that the server's settings address.
        self.services = services
        self._parsed: dict[tuple[str, int], SagaDefinition] = {}

    def check(self, document: object, lines: dict[str, int] | None = None) -> tuple[SagaDefinition, tuple[Problem, ...]]:
        """Return the definition and its warnings; raises :class:`~saga.errors.DefinitionInvalid`."""
        parsed = parse_definition(document, lines=lines, services=self.services)
        return parsed.definition, parsed.warnings

    async def put(self, definition: SagaDefinition, warnings: tuple[Problem, ...] = ()) -> Put:
        """Store a checked definition as the next version, unless it equals the latest."""
        stored, created = await self._store.put_definition(
            definition.name, to_json(definition.document()), self._clock.now()
        )
        self._keep((stored.name, stored.version), definition)
        version = Version(
            name=stored.name,
            version=stored.version,
            definition=definition,
            created_at=stored.created_at,
            deleted=stored.deleted,
        )
        return Put(version=version, created=created, warnings=warnings)

    async def find(self, name: str, version: int | None = None) -> Version | None:
        """Return that version, or the latest, None when there is none."""
        stored = await self._store.definition(name, version)
        if stored is None:
            return None
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
            value: Any = from_json(document)
            # A stored document was checked by the rules of its day; services are looked up when it runs.
            self._keep(key, parse_definition(value, services=None).definition)
        return self._parsed[key]

    def _keep(self, key: tuple[str, int], definition: SagaDefinition) -> None:
        self._parsed[key] = definition
        if len(self._parsed) > KEPT:
            del self._parsed[next(iter(self._parsed))]
