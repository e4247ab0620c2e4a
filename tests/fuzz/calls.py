"""Calls made up from the description of the API, and what each of them was answered.

Schemathesis makes the calls and judges the answers by its own checks; each answer is then held to the description
once more, as those of the other tests are, with no member and no header too many.
"""

from __future__ import annotations

import base64
import copy
import json
import subprocess
import sys
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from saga.api.openapi import document
from tests import conforming
from tests.fuzz.world import DOOMED, World, definitions

#: A request may be sound and still not fit what is there: another name, a start key besides an id.
_CONFIG = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", 401, 403, 404, 409, 410, 422, 429]
"""
#: Calls of one operation that a round makes up.
PER_ROUND = 40
#: Rounds that bring nothing new end the run.
MOST_ROUNDS = 100
SECONDS = 1800


@dataclass
class Tally:
    """What was called, what was answered, and what should not have been."""

    statuses: dict[str, Counter[int]] = field(default_factory=dict)
    violations: Counter[str] = field(default_factory=Counter)

    @property
    def calls(self) -> int:
        """How many calls were answered."""
        return sum(sum(each.values()) for each in self.statuses.values())

    def add(self, recorded: dict[str, Any]) -> None:
        """Count what was recorded of one scenario."""
        for name, each in recorded.get("interactions", {}).items():
            self._answered(each)
            for check in recorded.get("checks", {}).get(name, ()):
                if check["status"] != "success":
                    about = (check.get("failure_info") or check.get("failure") or {}).get("failure", check)
                    self._violated(f"{check['name']}: {json.dumps(about)[:400]}", each["request"])

    def _answered(self, interaction: dict[str, Any]) -> None:
        request, answer = interaction["request"], interaction.get("response")
        parts = urllib.parse.urlsplit(request["uri"])
        if answer is None:
            self._violated("no answer", request)
            return
        status, method, path = answer["status_code"], request["method"], parts.path
        named = conforming.named(method, path) or "elsewhere"
        self.statuses.setdefault(named, Counter())[status] += 1
        headers = {name: values[0] for name, values in answer["headers"].items()}
        text = _bytes(answer.get("content")).decode("utf-8", "replace")
        try:
            conforming.check(method, path, status, headers, text)
        except AssertionError as error:
            self._violated(f"not as described: {str(error)[:400]}", request)
        if status >= 500:
            self._violated(f"{status} {text[:200]}", request)

    def _violated(self, what: str, request: dict[str, Any]) -> None:
        sent = f"{request['method']} {request['uri']} {_bytes(request.get('body'))[:300]!r}"
        self.violations[f"{what}\n    {sent}"] += 1


def _bytes(recorded: Any) -> bytes:
    return base64.b64decode(recorded["$base64"]) if recorded else b""


def fuzz(world: World, folder: Path, *, calls: int, seed: int) -> Tally:
    """Make at least so many calls, in rounds; return what came of them."""
    (folder / "schemathesis.toml").write_text(_CONFIG)
    tally, before = Tally(), -1
    for number in range(MOST_ROUNDS):
        wanting = calls - tally.calls
        if wanting <= 0 or tally.calls == before:
            break
        before = tally.calls
        world.populate(sagas=4)
        (folder / "openapi.json").write_text(json.dumps(_populated(world)))
        # The first round of a long run goes through every limit of every schema, and follows links.
        whole = number == 0 and calls >= 4000
        phases = "examples,coverage,fuzzing,stateful" if whole else "examples,fuzzing"
        _round(
            world, folder, tally, phases=phases, each=min(PER_ROUND, 1 + wanting // 24), seed=seed + number
        )
    return tally


def _round(world: World, folder: Path, tally: Tally, *, phases: str, each: int, seed: int) -> None:
    report = folder / "report.ndjson"
    command = [
        *(
            sys.executable,
            "-m",
            "schemathesis.cli",
            "--config-file",
            str(folder / "schemathesis.toml"),
            "run",
        ),
        *(str(folder / "openapi.json"), "--url", world.url, "--phases", phases, "--max-examples", str(each)),
        *("--seed", str(seed), "--report", "ndjson", "--report-ndjson-path", str(report), "--no-shrink"),
        *("--continue-on-failure", "--request-timeout", "20", "--max-failures", "1000", "--warnings", "off"),
        *("--suppress-health-check", "all", "--no-color"),
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False)
    # 1: it has found something, which is in the report as well.
    if done.returncode not in (0, 1) or not report.exists():
        tally.violations[
            f"it could not be run ({done.returncode}): {done.stdout[-1500:]}{done.stderr[-1500:]}"
        ] += 1
        return
    with report.open() as lines:
        for line in lines:
            event = json.loads(line)
            for kind, said in event.items():
                if kind == "ScenarioFinished":
                    tally.add(said["recorder"])
                elif kind == "NonFatalError":
                    tally.violations[f"it could not make calls: {json.dumps(said)[:600]}"] += 1
    report.unlink()


# --------------------------------------------------------------------------- the document, with what there is

#: Names that nothing has.
_ODD: Final = ["none", "..", "a/b", "a%2Fb", "\0", "ä", "\U0001f4ba", "x" * 300, "-1", "${key}", "waits-0\n"]


def _populated(world: World) -> dict[str, Any]:
    """Return the document with the names of what is there, so that calls meet it, and with short waits."""
    made = copy.deepcopy(document())
    for path, operations in made["paths"].items():
        for method, operation in operations.items():
            for parameter in operation["parameters"]:
                there = _there(world, f"{method} {path}", parameter.get("name", ""))
                if there:
                    parameter["schema"] = {"enum": there}
    properties = made["components"]["schemas"]["StartBody"]["properties"]
    named, whole = properties["definition"]["anyOf"]
    properties["definition"] = {"anyOf": [{"enum": [*world.names, *_ODD]}, whole]}
    sound = [each | {"name": name} for name, each in definitions(world.participant).items()]
    kinds = made["paths"]["/v1/definitions/{name}"]["put"]["requestBody"]["content"]
    # As JSON some that are in order are sent, as YAML whatever the schema allows.
    kinds["application/json"]["schema"] = {"enum": [*sound, sound[0] | {"name": DOOMED}, named]}
    for name in ("skip", "retry", "resolve"):
        body = made["paths"][f"/v1/sagas/{{id}}/{name}"]["post"]["requestBody"]["content"]["application/json"]
        body["schema"]["properties"]["step"] = {"enum": ["seat", "pay", "ticket", "room", "seat[0]", *_ODD]}
    return made


def _there(world: World, operation: str, name: str) -> list[str]:
    """Return what a parameter is drawn from, where the schema says only that it is text."""
    if name == "name" and operation.endswith("signals/{name}"):
        return ["approval"]
    if operation == "delete /v1/definitions/{name}":
        return [DOOMED, *_ODD]
    found = {
        "id": world.ids,
        "token": world.tokens,
        "name": [*world.names, DOOMED],
        "wait": ["0s", "1ms", "50ms", "-1s", "1", "61s"],
    }
    return [*found[name], *_ODD] if name in found else []


def operations() -> Iterator[str]:
    """Return every operation by method and path, in the order of the document."""
    for path, methods in document()["paths"].items():
        yield from (f"{method.upper()} {path}" for method in methods)
