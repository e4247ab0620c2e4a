"""A coordinator as a process of its own, for tests that stop, kill or starve it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class Serving:
    """``saga serve`` on a free port, and a client of its HTTP API."""

    def __init__(self, store: Path, log: Path, *, program: str = "saga", **settings: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SAGA_", "OTEL_"))}
        self._log = log
        self._file = log.open("a")
        self._process = subprocess.Popen(
            [sys.executable, "-m", program, "serve"],
            cwd=ROOT,
            env=kept | {"SAGA_STORE": f"sqlite:///{store}", "SAGA_PORT": "0"} | settings,
            stdout=self._file,
            stderr=self._file,
        )
        self.began = time.monotonic()

    @property
    def base(self) -> str:
        """Return the address, once it is printed."""
        found = re.findall(r"http://127\.0\.0\.1:\d+", self._log.read_text())
        if not found:
            raise ConnectionError("not listening yet")
        return found[-1]

    async def ready(self) -> Serving:
        """Wait until it takes work."""
        while True:
            assert self._process.poll() is None, self._log.read_text()
            try:
                if (await self.ask("GET", "/readyz"))[0] == 200:
                    return self
            except OSError:
                pass
            await asyncio.sleep(0.02)

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Return status and JSON of an answer."""
        return await asyncio.to_thread(self._ask, method, path, body, headers)

    def _ask(self, method: str, path: str, body: Any, headers: dict[str, str]) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        named = {"Content-Type": "application/json"} | {
            key.replace("_", "-"): text for key, text in headers.items()
        }
        request = urllib.request.Request(self.base + path, data=data, method=method, headers=named)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as answer:
            with answer:
                return answer.code, json.loads(answer.read() or b"null")

    @property
    def port(self) -> int:
        """Return where it listens."""
        return int(self.base.rpartition(":")[2])

    def signal(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Wait for its end and return its exit code."""
        code = await asyncio.to_thread(self._process.wait)
        self._file.close()
        return code

    async def stop(self) -> int:
        """Ask it to stop, and wait."""
        self.signal(signal.SIGTERM)
        return await self.ended()

    @property
    def log(self) -> str:
        """Return what it has logged and printed."""
        return self._log.read_text()
