"""A coordinator with what is known of its definitions and starts."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from saga.definition import parse_definition
from saga.language.checks import not_yet_executed
from saga.language.model import SagaDefinition
from tests.journals.shapes import INPUT, more, shapes
from tests.model.expected import ENDED
from tests.model.living import Living
from tests.served import Said

T = TypeVar("T")

#: Documents of definitions whose kinds are executed.
DOCUMENTS: dict[str, dict[str, Any]] = {
    name.replace(" ", "_"): shape.document() | {"name": name.replace(" ", "_")}
    for name, shape in (shapes() | more()).items()
    if not not_yet_executed(shape)
}


@dataclass
class Known:
    """A saga whose start was acknowledged, as it was seen last."""

    definition: SagaDefinition
    saga: Any
    journal: list[Any] = field(default_factory=list)

    @property
    def id(self) -> str:
        """Return its id."""
        return str(self.saga["id"])

    @property
    def status(self) -> str:
        """Return its status."""
        return str(self.saga["status"])


class Starting:
    """A coordinator in which definitions are stored and sagas started, and the model of both."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._folder = Path(tempfile.mkdtemp())
        self.living = Living(self._folder)
        self.versions: dict[str, list[dict[str, Any]]] = {}
        self.deleted: set[str] = set()
        self.sagas: dict[str, Known] = {}
        #: Start key → body, id. No id: whether it was started is not known.
        self.keys: dict[str, tuple[Any, str | None]] = {}
        #: Sagas of other stories told here before.
        self.told = 0
        self.do(self.living.open())

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something to its end."""
        return self._runner.run(work)

    def ask(self, method: str, path: str, value: Any = None, **headers: str) -> Said:
        """Send a request."""
        return self.do(self.living.ask(method, path, value, **headers))

    def close(self) -> None:
        """Stop everything, and remove it."""
        with suppress(Exception):
            self.do(self.living.close())
        self._runner.close()
        shutil.rmtree(self._folder)

    # ----------------------------------------------------------------- definitions

    def put(self, name: str, *, other: bool = False) -> None:
        """Store a definition; another version of it, or as it is."""
        known = self.versions.setdefault(name, [])
        document = known[-1] if known else DOCUMENTS[name]
        if other:
            document = document | {"description": f"version {len(known) + 1}"}
        new = not known or other or name in self.deleted
        answer = self.ask("PUT", f"/v1/definitions/{name}", document)
        if new:
            known.append(document)
        self.deleted.discard(name)
        assert (answer.status, answer.json["version"]) == (201 if new else 200, len(known))

    def delete(self, name: str) -> None:
        """Allow no new starts of it."""
        answer = self.ask("DELETE", f"/v1/definitions/{name}")
        known = name in self.versions and name not in self.deleted
        assert answer.status == (204 if known else 404)
        if known:
            self.deleted.add(name)

    def _startable(self, name: str) -> str:
        if name not in self.versions:
            return "definition-unknown"
        return "definition-deleted" if name in self.deleted else ""

    # ----------------------------------------------------------------- starts

    def start(self, name: str, key: str | None = None, variant: int = 0) -> str | None:
        """Start a saga, perhaps again; return its id if there is one then."""
        body = {"definition": name, "input": INPUT | {"variant": variant}}
        headers = {} if key is None else {"Idempotency_Key": key}
        if key is None:  # so that ids, and whatever is made of them, are the same each time
            body["id"] = f"saga-{self.told}-{len(self.sagas)}"
        return self._started(self.ask("POST", "/v1/sagas", body, **headers), name, key, body)

    def _started(self, answer: Said, name: str, key: str | None, body: Any) -> str | None:
        known = None if key is None else self.keys.get(key)
        if known is not None and known[1] is not None:
            return self._started_again(answer, body, *known)
        if answer.status == 422 and known is not None:
            assert answer.type == "start-key-reused"
            assert body != known[0]
            return None
        if (kind := self._startable(name)) and "Idempotent-Replayed" not in answer.headers:
            assert (answer.status, answer.type) == (404, kind)
            return None
        replayed = answer.headers.get("Idempotent-Replayed") == "true"
        assert not replayed or (known is not None and known[0] == body)
        assert replayed or answer.status == (202 if answer.json["status"] not in ENDED else 200)
        return self._acknowledged(answer, key, body)

    def _acknowledged(self, answer: Said, key: str | None, body: Any) -> str:
        shown = answer.json
        assert answer.headers["Location"] == f"/v1/sagas/{shown['id']}"
        document = self.versions[shown["definition"]["name"]][shown["definition"]["version"] - 1]
        self.sagas[shown["id"]] = Known(parse_definition(document).definition, shown)
        if key is not None:
            self.keys[key] = (body, shown["id"])
        return str(shown["id"])

    def _started_again(self, answer: Said, body: Any, before: Any, saga_id: str | None) -> str | None:
        if body != before:
            assert (answer.status, answer.type) == (422, "start-key-reused")
            return None
        assert answer.headers["Idempotent-Replayed"] == "true"
        assert answer.json["id"] == saga_id
        assert answer.status == (200 if answer.json["status"] in ENDED else 202)
        return saga_id

    def rerun(self, saga_id: str) -> str | None:
        """Start a saga like one that has ended."""
        before = self.sagas[saga_id]
        key = f"rerun-{len(self.sagas)}"
        answer = self.ask("POST", f"/v1/sagas/{saga_id}/rerun", Idempotency_Key=key)
        if before.status not in ENDED:
            assert (answer.status, answer.type) == (409, "saga-not-ended")
        elif kind := self._startable(before.saga["definition"]["name"]):
            assert (answer.status, answer.type) == (404, kind)
        else:
            assert answer.status == 201
            return self._acknowledged(answer, None, None)
        return None
