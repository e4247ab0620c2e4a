"""The folder of definitions that are stored when the coordinator starts."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from saga.catalogue import Catalogue, stored_form
from saga.errors import DefinitionInvalid, Problem, SettingsInvalid
from saga.language.documents import read_document
from saga.language.model import SagaDefinition

log = logging.getLogger(__name__)

_YAML: Final = frozenset({".yaml", ".yml"})
_KINDS: Final = _YAML | {".json"}


async def store_folder(catalogue: Catalogue, folder: Path) -> None:
    """Store every definition of the folder whose content was never stored.

    Raises :class:`~saga.errors.SettingsInvalid` with every problem of every file; nothing is stored then.
    """
    found, problems = _read(catalogue, folder)
    if problems:
        raise SettingsInvalid(tuple(problems))
    for definition in found.values():
        # An older version in the folder must not come back after a newer one was put.
        known = {stored.document for stored in await catalogue.versions(definition.name)}
        if stored_form(definition) not in known:
            put = await catalogue.put(definition)
            log.info("definition %s has version %d now", put.version.name, put.version.version)


def _read(catalogue: Catalogue, folder: Path) -> tuple[dict[str, SagaDefinition], list[Problem]]:
    found: dict[str, SagaDefinition] = {}
    problems: list[Problem] = []
    for path in _files(folder):
        try:
            document, lines = read_document(path.read_bytes(), yaml=path.suffix.lower() in _YAML)
            definition, _ = catalogue.check(document, lines)
        except OSError as error:
            problems.append(Problem(pointer=str(path), detail=f"cannot be read: {error.strerror}"))
        except DefinitionInvalid as error:
            problems += _placed(path, error)
        else:
            if definition.name in found:
                problems.append(Problem(pointer=str(path), detail=f"{definition.name} stands in two files"))
            found[definition.name] = definition
    return found, problems


def _files(folder: Path) -> Iterator[Path]:
    yield from sorted(path for path in folder.iterdir() if path.suffix.lower() in _KINDS and path.is_file())


def _placed(path: Path, error: DefinitionInvalid) -> Iterator[Problem]:
    for each in error.problems:
        if each.severity == "error":
            yield replace(each, pointer=f"{path}{'#' if each.pointer else ''}{each.pointer}")
