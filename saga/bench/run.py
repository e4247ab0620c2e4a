"""One run of the benchmark: start the parts, measure, and say what was measured."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STEPS = 3

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is measured."""

    seconds: float = 10.0
    at_once: int = 64
    #: Sagas at most, 0: as many as fit into the time.
    sagas: int = 0
    durability: str = "full"
    tracing: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How one load went; latencies in seconds."""

    count: int
    seconds: float
    p50: float
    p99: float
    wrong: dict[str, int]

    @property
    def rate(self) -> float:
        """Return how many ended a second."""
        return self.count / self.seconds


def run(options: Options, say: Callable[[str], None]) -> dict[str, Any]:
    """Run the benchmark and return its figures; ``say`` is told what is being done."""
    with ExitStack() as parts, tempfile.TemporaryDirectory(prefix="saga-bench-") as folder:
        say("participants and collector start")
        services = [parts.enter_context(part("participant")).port for _ in range(STEPS)]
        collector = Part("collector") if options.tracing else None
        addresses = [f"http://127.0.0.1:{service}" for service in services]
        say("yardstick: the same calls, bare")
        with part("yardstick", *(f"{address}/do" for address in addresses)) as bare:
            used = cpu(bare.pid)
            yardstick = _load(bare.port, options)
            used = cpu(bare.pid) - used
            yardstick_one = _load(bare.port, options, at_once=1)
        say("coordinator")
        with coordinator(Path(folder), addresses, collector, options) as (pid, port):
            figures = _measured(pid, port, options, say)
        spans = collector.end()["spans"] if collector is not None else 0
        figures |= _compared(figures, yardstick, yardstick_one)
        figures |= {"yardstick_cpu_ms": used * 1e3 / yardstick.count}
        return figures | {"spans": spans, "machine": machine(), "fdatasync_ms": _fdatasync(Path(folder))}


def _measured(pid: int, port: int, options: Options, say: Callable[[str], None]) -> dict[str, Any]:
    idle = _memory(pid)
    _load(port, options, seconds=1.0)
    counters = _counters(port)
    used = cpu(pid)
    say(f"sagas of {STEPS} steps, {options.at_once} at once")
    many = _load(port, options, sagas=options.sagas)
    used = cpu(pid) - used
    after = _counters(port)
    say("sagas one at a time")
    one = _load(port, options, at_once=1)
    done = after["starts"] - counters["starts"]
    return {
        "sagas": many.count,
        "rate": many.rate,
        "p50_ms": many.p50 * 1e3,
        "p99_ms": many.p99 * 1e3,
        "wrong": many.wrong,
        "cpu_ms": used * 1e3 / many.count,
        "appends_per_saga": (after["starts"] + after["appends"] - counters["starts"] - counters["appends"])
        / done,
        "commits": after["commits"] - counters["commits"],
        "one_p50_ms": one.p50 * 1e3,
        "memory_idle_mb": idle,
        "memory_mb": _memory(pid),
        "tracing": "100 %" if options.tracing else "off",
        "durability": options.durability,
        "at_once": options.at_once,
    }


def _compared(figures: dict[str, Any], yardstick: Load, yardstick_one: Load) -> dict[str, Any]:
    return {
        "yardstick_rate": yardstick.rate,
        "yardstick_p99_ms": yardstick.p99 * 1e3,
        "yardstick_one_p50_ms": yardstick_one.p50 * 1e3,
        "ratio": figures["rate"] / yardstick.rate,
        "over_bare_per_step_ms": (figures["one_p50_ms"] - yardstick_one.p50 * 1e3) / STEPS,
    }


# parts


class Part:
    """A process of the benchmark."""

    def __init__(self, name: str, *arguments: str) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "saga.bench.parts", name, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.said = self._line()
        self.pid = self._process.pid

    @property
    def port(self) -> int:
        """Return where it listens."""
        port: int = self.said["port"]
        return port

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        said: dict[str, Any] = json.loads(self._process.stdout.readline() or b"{}")
        return said

    def end(self) -> dict[str, Any]:
        """End it, and return what it says last."""
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        self._process.stdin.close()
        last = self._line()
        self._process.wait()
        return last


@contextmanager
def part(name: str, *arguments: str) -> Iterator[Part]:
    """Run a part of the benchmark as a process."""
    running = Part(name, *arguments)
    try:
        yield running
    finally:
        running.end()


def _load(
    port: int, options: Options, *, at_once: int | None = None, seconds: float | None = None, sagas: int = 0
) -> Load:
    until = 3600.0 if sagas else seconds or options.seconds
    return load(port, at_once or options.at_once, until, sagas=sagas)


def load(
    port: int, at_once: int, seconds: float, *, sagas: int = 0, path: str = "/v1/sagas?wait=30s"
) -> Load:
    """Post starts to a path, so many at once, for so many seconds or sagas, and say how it went."""
    with part("load", str(port), str(at_once), str(seconds), str(sagas), path) as loading:
        return Load(**loading.said)


@contextmanager
def coordinator(
    folder: Path, addresses: list[str], collector: Part | None, options: Options
) -> Iterator[tuple[int, int]]:
    """Run a coordinator that has the benchmark's definition; yields its process and its port."""
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SAGA_", "OTEL_"))}
    settings = {
        "SAGA_STORE": f"sqlite:///{folder / 'bench.db'}",
        "SAGA_PORT": str(port),
        "SAGA_DURABILITY": options.durability,
    }
    if collector is not None:
        settings |= {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}"}
        settings |= {"OTEL_TRACES_SAMPLER": "always_on"}
    with (folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "saga", "serve"], env=kept | settings, stdout=log, stderr=log
        )
    try:
        _until_ready(process, port, folder / "serve.log")
        _put(port, addresses)
        yield process.pid, port
    finally:
        process.terminate()
        process.wait()


def _until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until and process.poll() is None:
        try:
            _ask(port, "GET", "/readyz")
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"the coordinator did not start:\n{log.read_text()}")


def _put(port: int, addresses: list[str]) -> None:
    steps = [
        {
            "name": f"step_{number}",
            "action": {"service": f"s{number}", "path": "/do", "body": {"id": "${key}", "of": "${input}"}},
            "compensation": {"path": "/undo/${key}"},
        }
        for number in range(STEPS)
    ]
    services = {f"s{number}": {"url": address} for number, address in enumerate(addresses)}
    _ask(port, "PUT", "/v1/definitions/bench", {"name": "bench", "services": services, "steps": steps})


def _ask(port: int, method: str, path: str, body: Any = None) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answered:  # noqa: S310 - our own address
        return json.loads(answered.read() or b"null")


def _counters(port: int) -> dict[str, int]:
    counters: dict[str, int] = _ask(port, "GET", "/readyz")["store"]
    return counters


def free_port() -> int:
    """Return a port that nobody listens on."""
    import socket  # noqa: PLC0415 - here alone

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# the machine


def cpu(pid: int) -> float:
    """Return the CPU seconds a process has used."""
    values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(values[11]) + int(values[12])) / _TICKS


def _memory(pid: int) -> float:
    """Return the resident memory of a process in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def machine() -> str:
    """Return what this was measured on."""
    names = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    return f"{os.cpu_count()} cores, {names[0] if names else platform.machine()}, Python {platform.python_version()}"


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []


def _fdatasync(folder: Path) -> float:
    """Return the median of what the disk's sync takes, in milliseconds."""
    taken = []
    with (folder / "sync").open("wb", buffering=0) as file:
        for _ in range(100):
            file.write(b"x" * 4096)
            began = time.monotonic()
            os.fdatasync(file.fileno())
            taken.append(time.monotonic() - began)
    return sorted(taken)[50] * 1e3
