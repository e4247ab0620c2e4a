"""The files: how one is read, and how one is added."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from saga.core.encoding import read
from saga.core.entries import Entry
from saga.definition import load_definition
from saga.language.model import SagaDefinition

FOLDER = Path(__file__).parent
MANIFEST = FOLDER / "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One journal that is kept."""

    #: Format and point: ``1/parked-forward``.
    name: str
    format: int
    document: dict[str, Any]
    #: As they were stored.
    bodies: tuple[bytes, ...]

    @property
    def definition(self) -> SagaDefinition:
        """Return the definition as this release reads it."""
        return load_definition(self.document)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Return the entries as this release reads them."""
        return read(self.format, self.bodies)


def paths() -> list[Path]:
    """Return every file there is."""
    return sorted(FOLDER.glob("*/*.json"))


def name_of(path: Path) -> str:
    """Return the name of a file, as the manifest has it."""
    return f"{path.parent.name}/{path.stem}"


def load(path: Path) -> Kept:
    """Return what a file holds; each entry stands on a line of its own."""
    text = path.read_bytes()
    held = json.loads(text)
    _, _, lines = text.partition(b'"entries": [\n')
    bodies = tuple(line.removesuffix(b",") for line in lines.splitlines() if line.startswith(b"{"))
    assert [json.loads(body) for body in bodies] == held["entries"]
    return Kept(name=name_of(path), format=held["format"], document=held["definition"], bodies=bodies)


def hashes(of: Iterable[Path]) -> dict[str, str]:
    """Return the hash of each file, by name."""
    return {name_of(path): sha256(path.read_bytes()).hexdigest() for path in of}


def manifest() -> dict[str, str]:
    """Return the hash that each file had when it was added."""
    known: dict[str, str] = json.loads(MANIFEST.read_text()) if MANIFEST.exists() else {}
    return known


def add(name: str, version: int, document: Mapping[str, Any], bodies: Sequence[bytes]) -> None:
    """Write a file that is not there yet, and add it to the manifest."""
    path = FOLDER / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    with path.open("xb") as file:
        file.write(text_of(version, document, bodies))
    known = manifest() | hashes([path])
    MANIFEST.write_text(json.dumps(dict(sorted(known.items())), indent=0) + "\n")


def text_of(version: int, document: Mapping[str, Any], bodies: Sequence[bytes]) -> bytes:
    """Return a file: JSON, with one line for each step and each entry."""
    head = {name: value for name, value in document.items() if name != "steps"}
    steps = ",\n".join(_json(each) for each in document["steps"])
    definition = f'{_json(head)[:-1]}, "steps": [\n{steps}\n]}}'
    entries = b",\n".join(bodies)
    return f'{{"format": {version}, "definition": {definition}, "entries": [\n'.encode() + entries + b"\n]}\n"


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
