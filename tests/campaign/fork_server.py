"""A process that has imported the whole coordinator and forks a copy of it on demand.

A cold start costs most of a second, nearly all of it imports; a fork costs milliseconds. The fork happens before
any thread or event loop exists, and the child runs the very function that ``saga serve`` runs.

Protocol, a line each way on standard input and output: ``fork`` answers the child's pid, ``reap`` waits for the
child and answers how it ended (the negative number of a signal, or its exit code).
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module


def main() -> None:
    """Serve until the end of standard input; then kill and reap what still runs."""
    module, _, name = sys.argv[1].partition(":")
    entry: Callable[[], int] = getattr(import_module(module), name)
    gc.collect()
    gc.freeze()
    child = 0
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "fork":
            child = _fork(entry)
            print(child, flush=True)
        else:
            _, status = os.waitpid(child, 0)
            child = 0
            print(os.waitstatus_to_exitcode(status), flush=True)
    if child:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _fork(entry: Callable[[], int]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        # The protocol's pipes are the parent's; what the coordinator says goes to standard error.
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        code = entry()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
