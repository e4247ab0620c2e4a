"""A coordinator with participants that do what they should not, and sagas in every state for calls to meet."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0
#: The one definition that calls may delete.
DOOMED = "doomed"


def ask(url: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Send one request; return status and JSON."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE)
    try:
        sent = None if body is None else json.dumps(body)
        connection.request(method, path, sent, {"Content-Type": "application/json"} if sent else {})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
    finally:
        connection.close()


def _call(behaviour: str, **more: Any) -> dict[str, Any]:
    return {"service": "any", "path": f"/{behaviour}", "retry": {"attempts": 1, "initial": "1ms"}} | more


def _answers(status: str, **more: Any) -> dict[str, Any]:
    return _call("answer", query={"status": status, "body": "{}"}, **more)


_UNDO = _call("ok")
_SLOWLY = {"attempts": "unlimited", "initial": "1h", "max": "1h"}


def definitions(participant: str) -> dict[str, dict[str, Any]]:
    """Return definitions by name; the sagas of each stop somewhere else."""

    def defined(name: str, *steps: dict[str, Any], **top: Any) -> dict[str, Any]:
        return {"name": name, "services": {"any": {"url": participant}}, "steps": list(steps)} | top

    seat = {"name": "seat", "action": _call("ok"), "compensation": _UNDO}
    pay = {"name": "pay", "pivot": True, "action": _call("ok"), "compensation": _UNDO}
    no = {"on_status": {"402": "refused"}}
    declined = {"name": "pay", "pivot": True, "action": _answers("402 No", **no), "compensation": _UNDO}
    stuck = {"name": "ticket", "action": _answers("402 No", **no)}
    undone_no = {"name": "seat", "action": _call("ok"), "compensation": _answers("402 No", **no)}
    promised = {
        "name": "seat", "action": _answers("202 Later", pending={"timeout": "24h", "poll": "24h"}),
        "compensation": _UNDO,
    }  # fmt: skip
    doubtful = {"name": "seat", "action": _call("close", retry=_SLOWLY), "compensation": _UNDO}
    beside = {
        "name": "room",
        "after": [],
        "when": "${input.room}",
        "action": _call("html"),
        "compensation": _UNDO,
    }
    labels = {"labels": {"card": "${input.card}"}, "sensitive": ["/card"], "description": "ä, ©, \U0001f4ba"}
    return {
        each["name"]: each
        for each in (
            defined("completes", seat, pay, {"name": "ticket", "action": _call("ok")}, **labels),
            defined("compensates", seat, declined),
            defined("parks", seat, pay, stuck),
            defined("parks_backward", undone_no, declined),
            defined("waits", promised),
            defined("doubts", doubtful, {"name": "late", "action": _call("ok"), "compensation": "none"}),
            defined("forks", seat, beside, declined | {"after": ["seat", "room"]}, due="1s", timeout="1h"),
        )
    }  # fmt: skip


@dataclass
class World:
    """What there is to be called."""

    url: str
    participant: str
    process: subprocess.Popen[bytes]
    log: Path
    names: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)

    @property
    def cpu(self) -> float:
        """Seconds of CPU that the coordinator has used."""
        times = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def resident(self) -> float:
        """Megabytes of memory that it holds."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def troubles(self) -> Iterator[str]:
        """Yield what the calls have done to the coordinator: it died, takes no work, or has logged an error."""
        if (code := self.process.poll()) is not None:
            yield f"the coordinator has ended with {code}: {self.log.read_text()[-2000:]}"
            return
        status, said = ask(self.url, "GET", "/readyz")
        if status != 200:
            yield f"it is not ready: {said}"
        logged = self.log.read_text(errors="replace")
        yield from (
            f"logged: {each[:500]}"
            for each in re.findall(r"(?m)^.*(?:Traceback|ERROR|CRITICAL).*$", logged)[:5]
        )

    def populate(self, sagas: int) -> None:
        """Store every definition, and start some sagas of each: calls end them, or have deleted what they are of."""
        self.ids.clear()
        doomed = definitions(self.participant)["completes"] | {"name": DOOMED}
        assert ask(self.url, "PUT", f"/v1/definitions/{DOOMED}", doomed)[0] in (200, 201)
        for name, document in definitions(self.participant).items():
            status, said = ask(self.url, "PUT", f"/v1/definitions/{name}", document)
            assert status in (200, 201), said
            for _ in range(sagas):
                body = {"definition": name, "input": {"room": len(self.ids) % 2 > 0, "card": "4242"}}
                status, said = ask(self.url, "POST", "/v1/sagas?wait=100ms", body)
                assert status in (200, 202, 409), said
                self.ids.append(said["id"])
        self.names = list(definitions(self.participant))
        self.tokens = self._tokens()[-2 * sagas :]
        assert self.tokens

    def _tokens(self) -> list[str]:
        seen = ask(self.participant, "GET", "/-/seen")[1]
        ask(self.participant, "POST", "/-/forget")
        raw = [each["raw"] for each in seen if "status=202" in each["path"]]
        return [token for each in raw for token in re.findall(r"/v1/callbacks/(\S+)", each)]

    def stop(self) -> Iterator[str]:
        """End it in good order; yield what was wrong with that."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            yield "it does not stop"
            return
        if code != 0:
            yield f"it was stopped, and ended with {code}"


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """Run a coordinator on a file, and a participant."""
    participant = subprocess.Popen(
        [sys.executable, "-m", "tests.hostile"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SAGA_", "OTEL_"))}
    log = folder / "serve.log"
    settings = {
        "SAGA_STORE": f"sqlite:///{folder / 'saga.db'}",
        "SAGA_PORT": "0",
        "SAGA_DURABILITY": "fast",
        "SAGA_GRACE": "1s",
    }
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "saga", "serve"], cwd=ROOT, env=kept | settings, stdout=out, stderr=out
        )
    try:
        assert participant.stdout is not None
        there = f"http://127.0.0.1:{json.loads(participant.stdout.readline())['port']}"
        yield World(_address(process, log), there, process, log)
    finally:
        for each in (process, participant):
            each.kill()
            each.wait()
        if participant.stdout is not None:
            participant.stdout.close()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.poll() is None:
        if found := re.search(r"listening on (http://\S+)", log.read_text()):
            return found[1]
        time.sleep(0.02)
    raise AssertionError(f"it does not start: {log.read_text()}")
