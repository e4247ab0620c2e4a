"""The processes of ``saga demo``: the participants and a coordinator, gone when the demo has gone.

Each child holds one end of a pipe as its standard input and stops when that ends, so that none is left behind
even when the demo itself is killed.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from saga.cli.failures import Exit, Failure, Unreachable
from saga.cli.http import Api

#: The port of the coordinator, if it is free.
PORT = 7242
_ADDRESS = re.compile(r"https?://\S+")
#: Seconds a process may take to stop before it is killed.
_STOP = 5.0
#: Lines of a process's complaints that are shown.
_SHOWN = 8


def example() -> Path:
    """Return the folder of the flight booking: in the installed package, or in the repository."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_demo" / "flight_booking", package.parent / "examples" / "flight_booking"):
        if (folder / "flight_booking.yaml").is_file():
            return folder
    raise Failure(
        "this installation lacks the flight booking example: install the package again", Exit.DEFECT
    )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextmanager
def participants(folder: Path) -> Iterator[tuple[subprocess.Popen[str], Mapping[str, str]]]:
    """Run the five participants on free ports; yields their process and their addresses."""
    source = example()
    path = os.pathsep.join(filter(None, (str(source.parent), os.environ.get("PYTHONPATH"))))
    arguments = ("-P", "-m", source.name, "--port-base", "0", "--watch-stdin", "--data", str(folder))
    with _running(arguments, {**os.environ, "PYTHONPATH": path}, folder / "participants.log") as process:
        line = _first_line(process)
        if not line:
            raise _died("the participants", folder / "participants.log")
        yield process, json.loads(line)


@contextmanager
def coordinator(folder: Path, services: Mapping[str, str]) -> Iterator[tuple[subprocess.Popen[str], Api]]:
    """Run a coordinator with a store of its own; yields its process and its API."""
    port, log = PORT if _is_free(PORT) else 0, folder / "coordinator.log"
    arguments = ("-P", "-m", "saga", "serve", "--watch-stdin", "--port", str(port), "--grace", "1s")
    with _running(arguments, _environment(folder, services), log) as process:
        # It says where it listens once it is ready.
        address = _ADDRESS.search(_first_line(process))
        if address is None:
            raise _died("the coordinator", log)
        yield process, Api(address[0], None)


def _first_line(process: subprocess.Popen[str]) -> str:
    return process.stdout.readline() if process.stdout is not None else ""


def _environment(folder: Path, services: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without settings that are meant for another coordinator."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SAGA_")}
    kept |= {f"SAGA_SERVICE_{name.upper()}": address for name, address in services.items()}
    return kept | {"SAGA_STORE": f"sqlite:///{folder / 'saga.db'}", "SAGA_LOG_LEVEL": "warning"}


@contextmanager
def _running(arguments: tuple[str, ...], env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[str]]:
    with log.open("w") as complaints:
        # A session of its own: Ctrl-C reaches the demo alone, which stops the others in order.
        process = subprocess.Popen(
            (sys.executable, *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            env=env,
            text=True,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[Any]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def _died(who: str, log: Path) -> Unreachable:
    said = log.read_text(errors="replace").strip().splitlines()[-_SHOWN:]
    died = Unreachable(f"{who} did not start" + (", and said:" if said else ""))
    died.problems = tuple(said)
    return died
