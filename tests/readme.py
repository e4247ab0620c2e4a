"""Run the documentation's command blocks and compare what they print, ids and times masked.

A copy of the project in an empty folder, a new environment, one shell a page: what a reader does, in the reader's
order. What a page has started is ended after it.
Needs nothing but the standard library: ``python tests/readme.py [PAGE …]``; ``--print NAME`` shows one command.

In a page, a block that begins with three backticks and ``console`` is run: lines that begin with ``$`` are commands,
the lines after them what they print (``…`` stands for any lines). A comment before a block can say

- ``<!-- name: tests -->``: what ``--print`` finds; such a block is not run with the rest,
- ``<!-- stays up -->``: the command is ended by SIGINT once it has printed what is shown, and has to end well,
- ``<!-- not run: why -->``.

A block of any language after ``<!-- file: PATH -->`` is written to that file.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "docs/tutorial.md", "docs/participant.md", "docs/parked.md")
BLOCK = re.compile(
    r"(?:<!-- (?P<note>[^>]*?) -->\n+)?^```(?P<language>\w+)\n(?P<body>.*?)^```", re.DOTALL | re.MULTILINE
)

#: What differs from run to run, and what is shown instead on both sides.
MASKS = (
    (re.compile(r"\x1b\[[0-9;]*m"), ""),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "<id>"),
    (re.compile(r"\b[0-9a-f]{32,40}\b"), "<hex>"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|\+00:00)?"), "<time>"),
    (re.compile(r"\b\d\d:\d\d:\d\d(?:\.\d+)?\b"), "<time>"),
    (re.compile(r"\b\d+(?:\.\d+)? ?(?:ms|s)\b"), "<duration>"),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:<port>"),
    (re.compile(r"(?<=\[)\d+(?=\] \d+$)|(?<=^\[1\] )\d+", re.MULTILINE), "<pid>"),
    (re.compile(r"^bash: line \d+: +\d+ Killed .*\n?", re.MULTILINE), ""),
    (re.compile(r"[ \t]+$", re.MULTILINE), ""),
)


@dataclass(frozen=True)
class Command:
    """One command of a page, and what it is shown to print."""

    page: str
    text: str
    expected: str
    note: str


def main() -> int:
    """Run the pages' commands; return 1 when one printed something else than is shown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pages", nargs="*", default=PAGES)
    parser.add_argument("--print", dest="name", help="print the command of that name, and end")
    options = parser.parse_args()
    pages = [list(read(ROOT / page)) for page in options.pages]
    if options.name:
        named = (command for page in pages for command in page if command.note == f"name: {options.name}")
        print(next(named).text)
        return 0
    with tempfile.TemporaryDirectory(prefix="readme-") as folder:
        home = Path(folder) / "project"
        copy(home)
        return 1 if [failed for page in pages for failed in failures(page, home)] else 0


def read(page: Path) -> Iterator[Command]:
    """Yield the commands of a page, and the files to be written, in the order of the page."""
    for block in BLOCK.finditer(page.read_text()):
        note = (block["note"] or "").strip()
        if note.startswith("file: "):
            yield Command(page.name, block["body"], "", note)
        if block["language"] != "console":
            continue
        for part in re.split(r"^\$ ", block["body"], flags=re.MULTILINE)[1:]:
            lines = part.split("\n")
            count = next(index for index, line in enumerate(lines, 1) if not line.endswith("\\"))
            text, expected = "\n".join(lines[:count]), "\n".join(lines[count:])
            yield Command(page.name, text, expected.strip("\n"), note)


def copy(home: Path) -> None:
    """Copy what is committed, as a clone would."""
    names = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"], check=True, capture_output=True
    ).stdout.decode()
    for name in filter(None, names.split("\0")):
        target = home / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():
            shutil.copy2(ROOT / name, target)


def failures(commands: list[Command], home: Path) -> Iterator[Command]:
    """Run the commands in one shell; yield each that did not print what is shown."""
    shell = Shell(home)
    try:
        for command in commands:
            if command.note.startswith(("name:", "not run")):
                continue
            if command.note.startswith("file: "):
                write(home / command.note.removeprefix("file: "), command.text)
                continue
            print(f"$ {command.text}", flush=True)
            stays_up = command.note == "stays up"
            printed, code = run_until(command, home) if stays_up else shell.run(command.text)
            if not matches(command.expected, printed):
                report(command, printed, code)
                yield command
    finally:
        shell.close()


def write(file: Path, text: str) -> None:
    """Write a file that a page shows."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def report(command: Command, printed: str, code: int) -> None:
    """Say what was shown and what was printed."""
    print(
        f"--- {command.page} shows\n{masked(command.expected)}\n--- printed (exit {code})\n{masked(printed)}\n---"
    )


def masked(text: str) -> str:
    """Return the text without what differs from run to run."""
    for pattern, shown in MASKS:
        text = pattern.sub(shown, text)
    return text.strip("\n")


def matches(expected: str, printed: str) -> bool:
    """Return whether the output is what is shown, ``…`` on a line of its own standing for any lines."""
    lines = masked(printed).splitlines()
    at, free = 0, False
    for part in _parts(masked(expected).splitlines()):
        if part is None:
            free = True
            continue
        starts = range(at, len(lines) - len(part) + 1) if free else [at]
        found = next((start for start in starts if lines[start : start + len(part)] == part), None)
        if found is None:
            return False
        at, free = found + len(part), False
    return free or at == len(lines)


def _parts(lines: list[str]) -> Iterator[list[str] | None]:
    """Yield runs of lines that are shown, and None for each ``…``."""
    run: list[str] = []
    for line in lines:
        if line == "…":
            if run:
                yield run
            yield None
            run = []
        else:
            run.append(line)
    if run:
        yield run


class Shell:
    """One bash that runs the commands one after the other, as a reader's does."""

    def __init__(self, home: Path) -> None:
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"], cwd=home, env=environment(), text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def run(self, text: str) -> tuple[str, int]:
        """Return what the command printed and its exit code."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f'{text}\necho "<<$?>>"\n')
        printed: list[str] = []
        for line in self._process.stdout:
            if end := re.search(r"<<(\d+)>>$", line.strip()):
                return "".join(printed) + line[: line.rindex("<<")], int(end[1])
            printed.append(line)
        return "".join(printed), self._process.wait()

    def close(self) -> None:
        """End the shell and everything it left running."""
        os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait()


def run_until(command: Command, home: Path) -> tuple[str, int]:
    """Run a command that stays up; end it with SIGINT once it has printed the last line that is shown."""
    process = subprocess.Popen(
        ["bash", "-c", f"exec {command.text}" if "&&" not in command.text else command.text],
        cwd=home, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    last = masked(command.expected).splitlines()[-1]
    printed: list[str] = []
    for line in process.stdout:
        printed.append(line)
        if masked(line) == last:
            os.killpg(process.pid, signal.SIGINT)
            break
    # What it says while it stops is its own affair, as long as it ends well.
    process.stdout.read()
    code = process.wait()
    if code != 0:
        printed.append(f"(it ended with {code})\n")
    return "".join(printed), code


def environment() -> dict[str, str]:
    """Return the environment of a reader: no virtual environment of ours, no settings."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SAGA_", "OTEL_", "VIRTUAL_ENV"))
    }
    chosen = Path(sys.executable).parent
    return {**kept, "PATH": f"{chosen}{os.pathsep}{kept.get('PATH', '')}", "COLUMNS": "120", "NO_COLOR": "1"}


if __name__ == "__main__":
    sys.exit(main())
