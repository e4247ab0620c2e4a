"""Other engines beside the coordinator: ``python -m benchmarks.peers``, from the root of the project.

The same saga of three steps, the same participants and the same load for each, one engine after the other; every
engine as it comes, with the settings its quick start has. DBOS and Restate are installed into a folder of their own
(``.benchmarks``, from PyPI and npm) and called from the sagas written by hand beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from saga.bench import run as bench

HERE = Path(__file__).parent
RESTATE = "1.7.12"


class Engine(NamedTuple):
    """One engine that is running: where a start is posted, and whose CPU counts."""

    port: int
    path: str
    pids: tuple[int, ...]


Start = Callable[[ExitStack, Path, Path, Sequence[str]], Engine]


def main() -> int:
    """Measure, and print a table in markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=8.0, help="of each load (%(default)s)")
    parser.add_argument(
        "--at-once", default="1,16,64", help="sagas at once, with commas between (%(default)s)"
    )
    parser.add_argument(
        "--only", default=",".join(ENGINES), help="engines, with commas between (%(default)s)"
    )
    parser.add_argument("--tools", type=Path, default=Path(".benchmarks"), help="folder of what is installed")
    options = parser.parse_args()
    loads = [int(each) for each in options.at_once.split(",")]
    rows = [
        f"| {name} | {many} | {figures['rate']:.0f} | {figures['p50_ms']:.1f} ms | {figures['p99_ms']:.0f} ms | {figures['cpu_ms']:.2f} ms |"
        for name in options.only.split(",")
        for many, figures in measured(ENGINES[name], options.tools.resolve(), loads, options.seconds)
    ]
    print(f"{bench.machine()}; {time.strftime('%Y-%m-%d', time.gmtime())}; {options.seconds:.0f} s each\n")
    print("| engine | at once | sagas/s | p50 | p99 | CPU a saga |\n|---|---|---|---|---|---|")
    print("\n".join(rows))
    return 0


def measured(
    start: Start, tools: Path, loads: Sequence[int], seconds: float
) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield the figures of an engine for each load."""
    with tempfile.TemporaryDirectory(prefix="peers-") as folder, ExitStack() as parts:
        services = [parts.enter_context(bench.part("participant")).port for _ in range(bench.STEPS)]
        engine = start(parts, tools, Path(folder), [f"http://127.0.0.1:{port}" for port in services])
        bench.load(engine.port, 8, 2.0, path=engine.path)
        for many in loads:
            before = sum(map(bench.cpu, engine.pids))
            done = bench.load(engine.port, many, seconds, path=engine.path)
            used = sum(map(bench.cpu, engine.pids)) - before
            if done.wrong:
                print(f"answers other than 200: {done.wrong}", file=sys.stderr)
            yield (
                many,
                {
                    "rate": done.rate,
                    "p50_ms": done.p50 * 1e3,
                    "p99_ms": done.p99 * 1e3,
                    "cpu_ms": used * 1e3 / done.count,
                },
            )


# the engines


def _coordinator(parts: ExitStack, _tools: Path, folder: Path, addresses: Sequence[str]) -> Engine:
    pid, port = parts.enter_context(bench.coordinator(folder, list(addresses), None, bench.Options()))
    return Engine(port, "/v1/sagas?wait=30s", (pid,))


def _dbos(parts: ExitStack, tools: Path, folder: Path, addresses: Sequence[str]) -> Engine:
    process = parts.enter_context(
        _script(_python(tools), HERE / "dbos_booking.py", str(folder), *addresses, stdout=subprocess.PIPE)
    )
    if process.stdout is None:
        raise RuntimeError("DBOS has no standard output")
    return Engine(json.loads(process.stdout.readline())["port"], "/", (process.pid,))


def _restate(parts: ExitStack, tools: Path, folder: Path, addresses: Sequence[str]) -> Engine:
    service, ingress, admin, node = (bench.free_port() for _ in range(4))
    worker = parts.enter_context(
        _script(_python(tools), HERE / "restate_booking.py", str(service), *addresses)
    )
    settings = {
        "RESTATE_BASE_DIR": str(folder),
        "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ingress}",
        "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{admin}",
        "RESTATE_BIND_ADDRESS": f"127.0.0.1:{node}",
        "RESTATE_LOG_FILTER": "error",
        "DO_NOT_TRACK": "1",
    }
    server = parts.enter_context(_process([str(_restate_server(tools))], env=os.environ | settings))
    deployment = {"uri": f"http://127.0.0.1:{service}"}
    _until(lambda: _post(f"http://127.0.0.1:{admin}/deployments", deployment), server)
    given = {"definition": "", "input": {}}
    _until(lambda: _post(f"http://127.0.0.1:{ingress}/bench/book", given), server)
    return Engine(ingress, "/bench/book", (server.pid, worker.pid))


ENGINES: dict[str, Start] = {"coordinator": _coordinator, "dbos": _dbos, "restate": _restate}


# what they need


def _python(tools: Path) -> Path:
    """Return the interpreter of an environment that has the engines; made the first time."""
    python = tools / "venv" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(tools / "venv")], check=True)
        wanted = str(HERE / "requirements.txt")
        subprocess.run([str(python), "-m", "pip", "install", "-q", "-r", wanted], check=True)
    return python


def _restate_server(tools: Path) -> Path:
    """Return Restate's server; fetched from npm the first time."""
    server = tools / "package" / "bin" / "restate-server"
    if not server.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise SystemExit("npm is needed to fetch Restate's server; --only coordinator,dbos does without")
        name = f"@restatedev/restate-server-linux-x64@{RESTATE}"
        subprocess.run([npm, "pack", "--silent", name], check=True, cwd=tools)
        with tarfile.open(next(tools.glob("restatedev-*.tgz"))) as packed:
            packed.extractall(tools, filter="data")
        server.chmod(0o755)
    return server


@contextmanager
def _script(python: Path, script: Path, *arguments: str, **named: Any) -> Iterator[subprocess.Popen[bytes]]:
    with _process([str(python), str(script), *arguments], stdin=subprocess.PIPE, **named) as process:
        yield process


@contextmanager
def _process(command: Sequence[str], **named: Any) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, **named) as process:
        try:
            yield process
        finally:
            process.terminate()


def _until(call: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    """Call until it works, for a minute at most."""
    until = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < until:
        try:
            call()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise SystemExit(f"{process.args!r} did not come up")


def _post(url: str, body: Any) -> bytes:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        said: bytes = answer.read()
        return said


if __name__ == "__main__":
    sys.exit(main())
