"""The hostile participant as a process of its own, and the way to ask it what it saw."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]


class HostileProcess:
    """The hostile participant in a process of its own, and the way to ask it what it saw."""

    def __init__(self, pem: Path | None) -> None:
        command = [sys.executable, "-m", "tests.hostile", "0", *([str(pem)] if pem else [])]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.ports: dict[str, int] = json.loads(self.process.stdout.readline())

    def close(self) -> None:
        """End it."""
        self.process.kill()
        with self.process:
            self.process.wait()

    def url(self, path: str) -> str:
        """Return the address of a behaviour."""
        return f"http://127.0.0.1:{self.ports['port']}{path}"

    def before_reading(self, name: str) -> str:
        """Return the address of a misbehaviour that reads no request."""
        return f"http://127.0.0.1:{self.ports[name]}/"

    def control(self, method: str, path: str) -> bytes:
        """Ask something on the control path, over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["port"], timeout=5)
        try:
            connection.request(method, path)
            return connection.getresponse().read()
        finally:
            connection.close()

    def seen(self) -> list[dict[str, Any]]:
        """Return every request since the last call of :meth:`forget`."""
        seen: list[dict[str, Any]] = json.loads(self.control("GET", "/-/seen"))
        return seen

    def forget(self) -> None:
        """Start counting anew."""
        self.control("POST", "/-/forget")
