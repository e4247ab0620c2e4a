"""The command line: what it loads, what it prints, how it ends; against a scripted server and a real one."""

from __future__ import annotations

import gc
import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from saga import cli
from saga.cli import demo_processes, follow, narrate, options, starting
from saga.cli.http import Api
from saga.core.entries import KINDS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "flight_booking"
BOOKING = EXAMPLE / "flight_booking.yaml"
#: Nobody listens there.
NOWHERE = "http://127.0.0.1:9"


@dataclass
class Result:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Return what was printed as JSON."""
        return json.loads(self.out)


@dataclass
class Terminal:
    """The command line in this process, told which server to ask."""

    url: str = NOWHERE
    token: str | None = None

    def __call__(self, *arguments: str, stdin: str | bytes | None = None) -> Result:
        """Run one command."""
        env = {"SAGA_URL": self.url, "SAGA_TOKEN": self.token}
        runner = CliRunner(env=env)
        run = click.Command("saga", callback=lambda: cli.main(arguments))
        result = runner.invoke(run, [], input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return Result(result.exit_code, result.stdout, result.stderr)


@pytest.fixture
def saga() -> Terminal:
    """Return the command line without a server."""
    return Terminal()


# what is loaded

_LOADED = """
import sys
from saga.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    print(end.code, *sorted(sys.modules), file=sys.stderr)
"""
HEAVY = {"aiohttp", "asyncio", "opentelemetry", "rich", "motor", "pymongo", "structlog", "tenacity"}
CHECKING = {"pydantic", "ruamel", "jmespath", "jsonschema_rs"}
ASKING = {"urllib.request", "http.client", "ssl"}


def loaded(*arguments: str) -> set[str]:
    """Return the modules a command loads, in an interpreter of its own."""
    result = subprocess.run(
        [sys.executable, "-c", _LOADED, *arguments], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(result.stderr.splitlines()[-1].split()[1:])


@pytest.mark.parametrize(
    "arguments", [["--help"], ["start", "--help"], ["pause", "--help"], ["demo", "--help"]]
)
def test_help_loads_click_and_little_else(arguments: list[str]) -> None:
    """Whoever asks what there is waits for no library that does it."""
    assert not loaded(*arguments) & (HEAVY | CHECKING | ASKING)


@pytest.mark.parametrize("command", ["validate", "graph", "simulate"])
def test_a_command_without_a_server_loads_no_network_and_no_telemetry(command: str) -> None:
    """Nor rich, as nobody looks at a terminal."""
    assert not loaded(command, str(BOOKING)) & (HEAVY | ASKING | {"saga.stores", "saga.engine", "saga.app"})


def test_a_sound_definition_is_compared_with_nothing() -> None:
    """What was probably meant is looked for where something is wrong."""
    assert "difflib" not in loaded("validate", str(BOOKING))


def test_a_command_that_hurries_leaves_the_process_as_it_was(saga: Terminal) -> None:
    """The collector runs again, and no setting of another package stays behind."""
    before = dict(os.environ)
    for command in ("validate", "graph", "simulate"):
        assert saga(command, str(BOOKING)).code == 0
        assert saga(command, "nowhere.yaml").code == 2
    assert gc.isenabled()
    assert dict(os.environ) == before


def test_a_command_that_asks_a_server_loads_neither_the_server_nor_the_definition_model() -> None:
    """It shows what the server says."""
    modules = loaded("list", "--server", NOWHERE)

    assert not modules & (HEAVY | CHECKING)
    assert "urllib.request" in modules


def test_the_flags_of_serve_come_without_the_server() -> None:
    """Its settings are a table of their own."""
    assert not loaded("serve", "--help") & (HEAVY | CHECKING | ASKING)


# usage and defects


def test_usage_is_exit_code_2(saga: Terminal) -> None:
    """And says where help is."""
    for arguments in (["nope"], ["show"], ["list", "--limit", "0"], ["resolve", "x", "--outcome", "maybe"]):
        result = saga(*arguments)

        assert (result.code, result.out) == (2, "")
        assert "--help" in result.err


def test_a_defect_is_one_line(saga: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a hint how to see more; exit code 70, which no answer has."""
    monkeypatch.setattr(options, "connect", lambda _: 1 / 0)

    result = saga("list")

    assert result.code == 70
    assert result.err == "saga: a defect: ZeroDivisionError: division by zero; 'saga --debug …' shows where\n"


def test_a_defect_shows_its_traceback_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """For whoever mends it."""
    monkeypatch.setattr(options, "connect", lambda _: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        cli.main(["--debug", "list"])


def test_a_closed_pipe_is_quiet() -> None:
    """``saga serve --help | head -1`` complains of nothing, and ends as a program does that a pipe killed."""
    script = f"{sys.executable} -m saga serve --help | head -c 1 >/dev/null; echo ${{PIPESTATUS[0]}}"
    # Written by an unbuffered stream, so that the second line meets the closed pipe.
    env = os.environ | {"PYTHONUNBUFFERED": "1"}
    result = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, cwd=ROOT, env=env, check=True
    )

    assert result.stderr == ""
    assert result.stdout.strip() in ("0", "141")


# definitions without a server

BROKEN = """\
name: broken
steps:
  - name: one
    action: {service: x, path: /a, bodi: 1}
  - name: two
    after: [nope]
    action: {url: "http://x/"}
    compensation: none
"""


def test_validate_says_what_is_valid(saga: Terminal) -> None:
    """A line for each file."""
    result = saga("validate", str(BOOKING), str(EXAMPLE / "trip_booking.yaml"))

    assert result.code == 0
    assert result.out.splitlines() == [
        f"{BOOKING}: valid, flight_booking, 4 steps",
        f"{EXAMPLE / 'trip_booking.yaml'}: valid, trip_booking, 5 steps",
    ]


def test_validate_shows_every_problem_with_its_line_and_goes_on(saga: Terminal, tmp_path: Path) -> None:
    """Warnings as well; one bad file, and one that is not there, keep no other from being checked."""
    bad = tmp_path / "bad.yaml"
    bad.write_text(BROKEN)

    result = saga("validate", str(bad), str(tmp_path / "absent.yaml"), str(BOOKING))

    assert result.code == 2
    places = [line.split(" ")[0:3] for line in result.out.splitlines()]
    assert places[:4] == [
        [f"{bad}:3:", "error:", "/steps/0:"],
        [f"{bad}:4:", "error:", "/steps/0/action/bodi:"],
        [f"{bad}:4:", "warning:", "/steps/0/action/service:"],
        [f"{bad}:6:", "error:", "/steps/1/after:"],
    ]
    assert result.out.splitlines()[4:] == [
        f"{bad}: refused, 3 errors",
        f"{tmp_path / 'absent.yaml'}: error: No such file or directory",
        f"{tmp_path / 'absent.yaml'}: refused, 1 error",
        f"{BOOKING}: valid, flight_booking, 4 steps",
    ]


def test_validate_gives_programs_json(saga: Terminal, tmp_path: Path) -> None:
    """One document for all files."""
    bad = tmp_path / "bad.json"
    bad.write_text('{"name": "bad",\n "steps": []}')

    result = saga("validate", "--json", str(bad), str(BOOKING))

    first, second = result.json()["files"]
    assert result.code == 2
    assert first["problems"] == [
        {
            "pointer": "/steps",
            "detail": "a saga has at least one step: add one",
            "line": 2,
            "severity": "error",
        }
    ]
    assert second == {"file": str(BOOKING), "valid": True, "name": "flight_booking", "problems": []}


def test_validate_reads_standard_input(saga: Terminal) -> None:
    """As ``-``, read as YAML."""
    assert saga("validate", "-", stdin=BOOKING.read_bytes()).out == "-: valid, flight_booking, 4 steps\n"


def test_a_definition_this_release_does_not_execute_is_refused(saga: Terminal) -> None:
    """As the server would refuse it."""
    result = saga("validate", "-", stdin="name: later\nsteps:\n  - name: one\n    wait: 5m\n")

    assert result.code == 2
    assert "-:4: error: /steps/0/wait: 'wait' is not executed yet by this release" in result.out


def test_simulate_shows_a_failure_of_each_step_in_turn(saga: Terminal) -> None:
    """What is sent together stands on one line; past the pivot nothing is undone."""
    result = saga("simulate", str(BOOKING))

    assert result.code == 0
    assert result.out.splitlines() == [
        "nothing fails: completed",
        "  → reserve_flight, reserve_hotel",
        "  → charge_card",
        "  → issue_ticket",
        "reserve_flight is refused: compensated",
        "  → reserve_flight, reserve_hotel",
        "  ← reserve_hotel",
        "reserve_hotel is refused: compensated",
        "  → reserve_flight, reserve_hotel",
        "  ← reserve_flight",
        "charge_card is refused: compensated",
        "  → reserve_flight, reserve_hotel",
        "  → charge_card",
        "  ← reserve_flight, reserve_hotel",
        "issue_ticket is refused: parked",
        "  → reserve_flight, reserve_hotel",
        "  → charge_card",
        "  → issue_ticket",
    ]


def test_simulate_one_step_that_stays_in_doubt(saga: Terminal) -> None:
    """It is compensated itself, before what it came after."""
    result = saga("simulate", str(BOOKING), "--fail", "charge_card", "--uncertain", "--json")

    (simulation,) = result.json()["simulations"]
    assert (simulation["failed"], simulation["status"]) == ("charge_card", "compensated")
    assert simulation["waves"][2:] == [
        [{"step": "charge_card", "phase": "compensation"}],
        [{"step": step, "phase": "compensation"} for step in ("reserve_flight", "reserve_hotel")],
    ]


def test_simulate_knows_its_steps(saga: Terminal) -> None:
    """One that is not there is usage."""
    result = saga("simulate", str(BOOKING), "--fail", "nope")

    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("saga: there is no step 'nope'; there are reserve_flight")


def test_graph_draws_mermaid(saga: Terminal) -> None:
    """Ready to be pasted."""
    result = saga("graph", str(BOOKING))

    assert result.code == 0
    assert result.out.startswith("flowchart TD\n")


def test_graph_of_a_broken_definition_shows_its_problems(saga: Terminal, tmp_path: Path) -> None:
    """On standard error, as nothing was drawn."""
    bad = tmp_path / "bad.yaml"
    bad.write_text(BROKEN)

    result = saga("graph", str(bad))

    assert (result.code, result.out) == (2, "")
    assert f"{bad}:6: error: /steps/1/after: there is no step 'nope' to wait for" in result.err


# what is typed


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("a=1", {"a": 1}),
        ("a=LH400", {"a": "LH400"}),
        ("a=007", {"a": "007"}),
        ("a=true", {"a": True}),
        ("a=", {"a": ""}),
        ("a=b=c", {"a": "b=c"}),
        ('a="42"', {"a": "42"}),
        ("a=4242424242424242", {"a": "4242424242424242"}),
        ("a=NaN", {"a": "NaN"}),
        ("a.b.c=1.5", {"a": {"b": {"c": 1.5}}}),
        ('a=[1, "x"]', {"a": [1, "x"]}),
    ],
)
def test_a_field_is_json_where_it_is_json_and_else_text(typed: str, read: Any) -> None:
    """A number as long as a card's stays the text it is."""
    assert options.payload(None, [typed]) == read


def test_fields_are_laid_over_a_file(saga: Terminal, tmp_path: Path) -> None:
    """The file holds what stays the same."""
    given = tmp_path / "input.yaml"
    given.write_text("traveller: {email: a@b}\nflight: LH400\n")

    read = options.payload(str(given), ["traveller.name=Ann", "flight=LH401"])

    assert read == {"traveller": {"email": "a@b", "name": "Ann"}, "flight": "LH401"}


# a scripted server


@dataclass
class Script:
    """A server that gives the answers it was told, and remembers what it was asked."""

    answers: list[tuple[int, Mapping[str, str], bytes]] = field(default_factory=list)
    asked: list[tuple[str, str, Mapping[str, str], bytes]] = field(default_factory=list)
    url: str = ""

    def gives(self, status: int, body: Any = None, **headers: str) -> None:
        """Add an answer; without a status the connection is closed."""
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        self.answers.append((status, headers, content))

    def problem(self, status: int, kind: str, detail: str, **members: Any) -> None:
        """Add a problem document."""
        self.gives(status, {"type": kind, "title": "Title", "status": status, "detail": detail, **members})

    def body(self, number: int = -1) -> Any:
        """Return the JSON that was sent."""
        return json.loads(self.asked[number][3])

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Take the next answer."""
        content = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        self.asked.append((request.command, request.path, dict(request.headers), content))
        status, headers, body = self.answers.pop(0)
        if not status:
            request.close_connection = True
            return
        request.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | dict(headers)).items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)


@pytest.fixture
def script() -> Iterator[Script]:
    """Run a scripted server."""
    told = Script()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Say nothing."""

        do_GET = do_POST = do_PUT = do_DELETE = lambda self: told.answer(self)  # noqa: N815, PLW0108 -- its names, and a method

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield told
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def asks(script: Script, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Return the command line that asks the scripted server."""
    monkeypatch.setattr(starting, "_PAUSE", 0.0)
    return Terminal(script.url, "t0k")


SAGA = {
    "id": "s1",
    "definition": {"name": "flight_booking", "version": 2},
    "status": "running",
    "direction": "forward",
    "late": False,
    "progress": {"done": 1, "total": 2},
    "error": None,
    "labels": {},
    "output": None,
    "started_at": "2026-03-01T09:30:00.125Z",
    "updated_at": "2026-03-01T09:30:01.000Z",
    "ended_at": None,
    "next_attempt_at": None,
    "parent": None,
    "trace_id": None,
    "steps": [
        {"name": "one", "status": "succeeded", "attempts": 1, "error": None, "compensation": None},
        {
            "name": "two",
            "status": "uncertain",
            "attempts": 3,
            "error": {"kind": "uncertain", "detail": "reset"},
            "compensation": {"status": "undone", "attempts": 2, "error": None},
        },
    ],
}


def test_nobody_there_is_exit_code_3(saga: Terminal) -> None:
    """And says what to do."""
    result = saga("list")

    assert result.code == 3
    assert result.err.startswith(f"saga: no answer from {NOWHERE} (Connection refused); is it running?")


def test_nobody_there_is_json_for_programs(saga: Terminal) -> None:
    """On standard error, so that standard output holds answers only."""
    result = saga("list", "--json")

    assert (result.code, result.out) == (3, "")
    assert json.loads(result.err)["exit_code"] == 3


@pytest.mark.parametrize(
    "address", ["127.0.0.1:7242", "ftp://x", "http://", "http://u:p@x", "http://x:99999", "x"]
)
def test_what_is_no_address_is_usage(saga: Terminal, address: str) -> None:
    """Before anything is sent."""
    result = saga("list", "--server", address)

    assert result.code == 2
    assert "write it as http://127.0.0.1:7242" in result.err


def test_the_token_is_sent_and_its_absence_explained(asks: Terminal, script: Script) -> None:
    """As a header, never in an address."""
    script.problem(401, "unauthorised", "a token is needed")

    result = asks("list")

    assert script.asked[0][2]["Authorization"] == "Bearer t0k"
    assert result.code == 2
    assert result.err == "saga: unauthorised: a token is needed; set SAGA_TOKEN to a token of this server\n"


def test_a_redirect_is_not_followed(asks: Terminal, script: Script) -> None:
    """The token would go along."""
    script.gives(302, Location=f"{script.url}/elsewhere")

    result = asks("list")

    assert result.code == 3
    assert len(script.asked) == 1


def test_another_program_at_the_address_is_not_taken_for_a_coordinator(
    asks: Terminal, script: Script
) -> None:
    """Whatever it says."""
    for status, body in ((200, b"<html>"), (404, b"not found")):
        script.gives(status, body)

        result = asks("list")

        assert result.code == 3
        assert "not as a coordinator does; check --server" in result.err


@pytest.mark.parametrize(("status", "code"), [(404, 2), (409, 1), (422, 2), (429, 3), (503, 3)])
def test_a_refusal_has_the_exit_code_of_its_kind(
    asks: Terminal, script: Script, status: int, code: int
) -> None:
    """1 where it does not fit the saga, 2 where the request is at fault, 3 where the server cannot."""
    script.problem(status, "pivot-passed", "it only goes forward")

    result = asks("cancel", "s1")

    assert (result.code, result.out) == (code, "")
    assert result.err == "saga: pivot passed: it only goes forward\n"


def test_a_refusal_is_the_problem_document_for_programs(asks: Terminal, script: Script) -> None:
    """As the server gave it."""
    script.problem(409, "pivot-passed", "it only goes forward", status_now="running")

    result = asks("cancel", "s1", "--json")

    assert json.loads(result.err)["status_now"] == "running"


def test_problems_of_a_stored_definition_have_their_lines(asks: Terminal, script: Script) -> None:
    """The server knows pointers, the file has the lines."""
    errors = [
        {"pointer": "/services/flights", "detail": "no address"},
        {"pointer": "/x", "detail": "y", "line": 7},
    ]
    script.problem(422, "definition-invalid", "2 problems", errors=errors)

    result = asks("apply", str(BOOKING))

    assert result.code == 2
    assert result.err.splitlines() == [
        f"saga: {BOOKING}: definition invalid: 2 problems",
        f"  {BOOKING}:14: error: /services/flights: no address",
        f"  {BOOKING}:7: error: /x: y",
    ]


def test_apply_goes_on_after_a_refused_file(asks: Terminal, script: Script, tmp_path: Path) -> None:
    """And ends with the worst exit code; the text goes out as it is."""
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: [")
    script.gives(201, {"name": "flight_booking", "version": 3, "created": True, "warnings": []})

    result = asks("apply", str(bad), str(BOOKING))

    assert result.code == 2
    assert result.out == "flight_booking: stored as version 3\n"
    assert f"{bad}:1: error: this is not YAML" in result.err
    method, path, headers, body = script.asked[0]
    assert (method, path, body) == ("PUT", "/v1/definitions/flight_booking", BOOKING.read_bytes())
    assert headers["Content-Type"] == "application/yaml"


def test_start_prints_the_id(asks: Terminal, script: Script) -> None:
    """And sends what was typed, under a start key."""
    script.gives(202, SAGA)

    result = asks(
        "start", "flight_booking", "-f", "card=4242424242424242", "--label", "vip=true", "--key", "k1"
    )

    assert (result.code, result.out) == (0, "s1\n")
    assert script.body() == {
        "definition": "flight_booking",
        "input": {"card": "4242424242424242"},
        "labels": {"vip": True},
    }
    assert script.asked[0][2]["Idempotency-Key"] == "k1"


def test_a_start_of_nothing_says_what_to_write(saga: Terminal) -> None:
    """The name is what is forgotten first."""
    result = saga("start", "-f", "flight=LH1")

    assert result.code == 2
    assert "Usage: saga start [OPTIONS] NAME" in result.err
    assert "name the definition" in result.err
    assert "saga start flight_booking -f flight=LH1" in result.err
    assert "saga definitions" in result.err


def test_a_start_without_input_says_how_it_is_given(asks: Terminal, script: Script) -> None:
    """When the definition takes none, nothing is said; when input was given, its own problems say all."""
    told = {"errors": [{"pointer": "/input", "detail": 'the value is not of type "object"'}]}
    script.problem(422, "input-invalid", "it does not fit", **told)
    script.problem(422, "input-invalid", "it does not fit", **told)
    script.problem(404, "definition-unknown", "there is no definition of this name")

    nothing, something = asks("start", "flight_booking"), asks("start", "flight_booking", "-f", "a=1")
    unknown = asks("start", "flight_booking.yaml")

    assert (nothing.code, something.code, unknown.code) == (2, 2, 2)
    assert "no input was given: give it with -f key=value" in nothing.err
    assert "no input was given" not in something.err
    assert "'saga definitions' lists those there are; 'saga apply FILE' stores one" in unknown.err


def test_a_start_whose_answer_was_lost_is_sent_again_as_the_same(asks: Terminal, script: Script) -> None:
    """So that it is one saga, whether or not the first arrived; without an id or a key it is given an id."""
    script.gives(0)
    script.problem(503, "start-unknown", "ask again under the same key")
    script.gives(202, SAGA)

    result = asks("start", "flight_booking")

    assert (result.code, result.out) == (0, "s1\n")
    assert len({script.body(number)["id"] for number in range(3)}) == 1


def test_a_start_that_stays_in_doubt_tells_how_to_ask_again(asks: Terminal, script: Script) -> None:
    """The id that was made up for it would be lost otherwise; a rerun has a start key."""
    for _ in range(6):
        script.gives(0)

    start, rerun = asks("start", "flight_booking"), asks("rerun", "s1")

    assert (start.code, rerun.code) == (3, 3)
    saga_id, key = script.body(0)["id"], script.asked[3][2]["Idempotency-Key"]
    assert start.err.splitlines()[1] == f"  it may have been started: ask again with --id {saga_id}"
    assert rerun.err.splitlines()[1] == f"  it may have been started: ask again with --key {key}"


def test_an_id_takes_the_place_of_the_start_key(asks: Terminal, script: Script) -> None:
    """Giving both is usage; giving one sends no header."""
    script.gives(202, SAGA)

    assert asks("start", "flight_booking", "--id", "s1").code == 0
    assert script.body()["id"] == "s1"
    assert "Idempotency-Key" not in script.asked[0][2]
    assert asks("start", "flight_booking", "--id", "s1", "--key", "k").code == 2


ONE = {"seq": 1, "at": "2026-03-01T09:30:00.125Z", "kind": "saga_started", "definition": "f", "version": 2}
TWO = {
    "seq": 2,
    "at": "2026-03-01T09:30:00.500Z",
    "kind": "step_refused",
    "step": "two",
    "detail": "no \x1b[31m",
}
END = {"seq": 3, "at": "2026-03-01T09:30:01.000Z", "kind": "saga_compensated"}


def journal(*entries: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return entries as the journal shows them."""
    return {"items": entries, "next": None}


def test_watch_prints_a_line_for_each_entry(asks: Terminal, script: Script) -> None:
    """Each once; exit code 1 when the saga was compensated. No terminal obeys what a participant said."""
    script.gives(200, SAGA)
    script.gives(200, journal(ONE))
    script.gives(200, SAGA)
    script.gives(200, SAGA | {"status": "compensated", "updated_at": END["at"]})
    script.gives(200, journal(ONE, TWO, END))

    result = asks("watch", "s1")

    assert result.code == 1
    assert result.out.splitlines() == [
        "09:30:00.125  ● saga: started, f version 2",
        "09:30:00.500  ✗ two: refused: no \\x1b[31m",
        "09:30:01.000  ● saga: compensated",
    ]


def test_watch_outlives_a_restart_of_the_server(
    asks: Terminal, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks again for a while."""
    monkeypatch.setattr(follow, "_LATEST", 0.01)
    script.gives(200, SAGA)
    script.gives(200, journal(ONE))
    script.gives(0)
    script.problem(503, "store-unavailable", "later")
    script.gives(200, SAGA | {"status": "completed"})
    script.gives(0)
    script.gives(200, journal(ONE, END | {"kind": "saga_completed"}))

    assert asks("watch", "s1").code == 0


def test_watch_gives_programs_a_line_of_json_for_each_entry(asks: Terminal, script: Script) -> None:
    """As the journal has it."""
    script.gives(200, SAGA | {"status": "completed"})
    script.gives(200, journal(ONE, END | {"kind": "saga_completed"}))

    result = asks("watch", "s1", "--json")

    assert result.code == 0
    assert [json.loads(line)["seq"] for line in result.out.splitlines()] == [1, 3]


def test_start_and_wait_tells_by_its_exit_code_how_it_went(asks: Terminal, script: Script) -> None:
    """Parked is 1: a person has to decide."""
    script.gives(202, SAGA)
    script.gives(200, SAGA | {"status": "parked"})
    script.gives(200, journal(ONE, END | {"kind": "saga_parked"}))

    result = asks("start", "flight_booking", "--wait", "--json")

    assert (result.code, result.json()["status"]) == (1, "parked")


def test_every_kind_of_entry_has_its_sentence() -> None:
    """An entry of a later release is told by its name."""
    unknown = set(KINDS) - set(narrate._KINDS)

    assert unknown == set()
    assert narrate.tell({"kind": "moon_rose", "detail": "full"}).text == "moon rose: full"


def test_show_prints_the_saga_and_its_steps(asks: Terminal, script: Script) -> None:
    """In a pipe as plain lines, the cells of a row with tabs between them, and what they are above them."""
    script.gives(200, SAGA | {"error": {"step": "two", "kind": "uncertain", "detail": "reset"}})

    result = asks("show", "s1")

    assert result.out.splitlines() == [
        "s1  flight_booking version 2  running  1/2",
        "error: two: uncertain, reset",
        "started: 2026-03-01 09:30:00",
        "step\tstatus\tattempts\tcompensation\terror",
        "one\tsucceeded\t1\t\t",
        "two\tuncertain\t3\tundone\tuncertain, reset",
    ]


def test_a_saga_whose_journal_cannot_be_read_is_shown_as_far_as_it_is_known(
    asks: Terminal, script: Script
) -> None:
    """It is looked at and watched like any other, and says what is wrong."""
    left_out = {"steps", "output", "next_attempt_at"}
    saga = {name: value for name, value in SAGA.items() if name not in left_out} | {"status": "parked"}
    saga |= {"problem": {"type": "journal-unreadable", "detail": "entry 3: what is stored is no entry"}}
    unread = {"seq": 3, "at": None, "kind": "unreadable", "raw": None}
    for answer in (saga, saga, journal(ONE, unread)):
        script.gives(200, answer)

    assert asks("show", "s1").out.splitlines() == [
        "s1  flight_booking version 2  parked  1/2",
        "problem: entry 3: what is stored is no entry",
        "started: 2026-03-01 09:30:00",
    ]
    assert asks("watch", "s1").out.splitlines()[-1] == "  ! saga: unreadable, an entry that cannot be read"


def test_a_compensation_that_is_owed_is_shown_once_the_saga_goes_backward(
    asks: Terminal, script: Script
) -> None:
    """Before that it is owed too, but nobody waits for it."""
    step = SAGA["steps"][1] | {"compensation": {"status": "pending", "attempts": 0, "error": None}}
    for direction in ("forward", "backward"):
        script.gives(200, SAGA | {"direction": direction, "steps": [step]})

    forward, backward = (asks("show", "s1").out.splitlines()[-1].split("\t") for _ in range(2))

    assert (forward[3], backward[3]) == ("", "pending")


def test_list_follows_the_pages_it_needs(asks: Terminal, script: Script) -> None:
    """And passes what was asked for on to the server."""
    script.gives(200, {"items": [SAGA | {"id": "s1"}, SAGA | {"id": "s2", "late": True}], "next": "c1"})
    script.gives(200, {"items": [SAGA | {"id": "s3"}], "next": None})

    result = asks("list", "--all", "--status", "running", "--status", "parked")

    assert [line.split("\t")[0] for line in result.out.splitlines()] == ["s1", "s2", "s3"]
    assert result.out.splitlines()[1].split("\t")[2] == "running, late"
    assert script.asked[0][1] == "/v1/sagas?status=running%2Cparked&limit=200"
    assert script.asked[1][1].endswith("&cursor=c1")


def test_a_decision_carries_why(asks: Terminal, script: Script) -> None:
    """And what it is about."""
    script.gives(200, SAGA)

    result = asks(
        "resolve", "s1", "--step", "two", "--outcome", "succeeded", "--output", '{"n": 1}', "--reason", "r"
    )

    assert result.code == 0
    assert script.asked[0][1] == "/v1/sagas/s1/resolve"
    assert script.body() == {"reason": "r", "step": "two", "outcome": "succeeded", "output": {"n": 1}}


def test_a_decision_without_a_reason_is_legal(asks: Terminal, script: Script) -> None:
    """One that is only recorded says so, and is a yes."""
    script.gives(202, {"recorded": True})

    result = asks("pause", "a/b")

    assert result.code == 0
    assert "pause is recorded" in result.out
    assert (script.asked[0][1], script.body()) == ("/v1/sagas/a%2Fb/pause", {})


def test_a_signal_carries_its_payload(asks: Terminal, script: Script) -> None:
    """From fields, a file or standard input."""
    script.gives(202, {"recorded": True})

    result = asks("signal", "s1", "approval", "-i", "-", stdin="by: ann\n")

    assert result.code == 0
    assert (script.asked[0][1], script.body()) == ("/v1/sagas/s1/signals/approval", {"by": "ann"})


# a real server


@dataclass
class World:
    """A coordinator and the participants of the example, as processes."""

    url: str
    services: Mapping[str, str]

    @property
    def asks(self) -> Terminal:
        """Return the command line that asks the coordinator."""
        return Terminal(self.url)

    def knobs(self, service: str, *rules: Mapping[str, Any]) -> None:
        """Tell a participant what to do wrong."""
        Api(self.services[service], None).send("PUT", "/knobs", {"rules": rules})

    def spawn(self, *arguments: str, **streams: Any) -> subprocess.Popen[str]:
        """Start a command as a process."""
        env = os.environ | {"SAGA_URL": self.url}
        command = [sys.executable, "-m", "saga", *arguments]
        return subprocess.Popen(command, cwd=ROOT, env=env, text=True, stderr=subprocess.PIPE, **streams)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Run everything once for all tests below."""
    folder = tmp_path_factory.mktemp("world")
    with ExitStack() as stack:
        _, services = stack.enter_context(demo_processes.participants(folder))
        _, api = stack.enter_context(demo_processes.coordinator(folder, services))
        found = World(api.base, services)
        assert found.asks("apply", str(BOOKING)).out == "flight_booking: stored as version 1\n"
        yield found


FIELDS = [
    "-f",
    "traveller.email=ann@example.com",
    "-f",
    "flight=LH400",
    "-f",
    "hotel=Astoria",
    "-f",
    "amount=225",
]
GOOD = [*FIELDS, "-f", "card=4242424242424242"]
DECLINED = [*FIELDS, "-f", "card=4000000000000002"]


def test_a_definition_that_is_there_already_changes_nothing(world: World) -> None:
    """And is listed."""
    assert world.asks("apply", str(BOOKING)).out == "flight_booking: unchanged, version 1\n"
    assert "flight_booking\t1\t" in world.asks("definitions").out


def test_a_dry_run_stores_nothing(world: World, tmp_path: Path) -> None:
    """It says what would be."""
    changed = tmp_path / "changed.yaml"
    changed.write_text(BOOKING.read_text().replace("timeout: 10m", "timeout: 11m"))

    assert world.asks("apply", "--dry-run", str(changed)).out == "flight_booking: would be version 2\n"
    assert "flight_booking\t1\t" in world.asks("definitions").out


def test_a_booking_completes_and_is_found(world: World) -> None:
    """Exit code 0; the same start key is the same saga."""
    result = world.asks("start", "flight_booking", *GOOD, "--key", "order-1", "--wait", "--json")

    saga = result.json()
    assert (result.code, saga["status"], saga["input"]["card"]) == (0, "completed", "•••")
    assert world.asks("start", "flight_booking", *GOOD, "--key", "order-1").out == f"{saga['id']}\n"
    assert world.asks("show", saga["id"]).out.startswith(
        f"{saga['id']}  flight_booking version 1  completed  4/4"
    )
    assert saga["id"] in world.asks("list", "--status", "completed", "--definition", "flight_booking").out
    assert saga["id"] not in world.asks("list", "--status", "running", "--status", "parked").out


def test_a_declined_card_is_watched_being_undone(world: World) -> None:
    """Exit code 1, and a line for each thing that happened."""
    result = world.asks("start", "flight_booking", *DECLINED, "--watch")

    said = [line.partition("  ")[2] for line in result.out.splitlines()[1:]]
    assert result.code == 1
    assert said[0] == "● saga: started, flight_booking version 1"
    assert said[-1] == "● saga: compensated"
    assert {"↩ reserve_flight: undone", "↩ reserve_hotel: undone"} <= set(said)


def test_input_that_does_not_fit_is_shown_with_its_pointer(world: World) -> None:
    """Exit code 2, and nothing was started."""
    result = world.asks("start", "flight_booking", "-f", "traveller.name=Ann")

    assert result.code == 2
    assert "/traveller" in result.err


def test_a_person_mends_a_parked_saga(world: World, tmp_path: Path) -> None:
    """Parked is exit code 1, and so is what does not fit it; what a person did by hand ends it."""
    document = (
        BOOKING.read_text().replace("flight_booking", "parking").replace("404: succeeded", "422: refused")
    )
    (tmp_path / "parking.yaml").write_text(document)
    world.asks("apply", str(tmp_path / "parking.yaml"))
    world.knobs("hotels", {"on": "release", "fault": "refuse", "next": 1})
    parked = world.asks("start", "parking", *DECLINED, "--wait", "--json")
    saga_id = parked.json()["id"]

    assert (parked.code, parked.json()["status"]) == (1, "parked")
    assert saga_id in world.asks("list", "--status", "parked").out
    refused = world.asks("resolve", saga_id, "--step", "reserve_hotel", "--outcome", "refused")
    assert refused.code == 1
    done = world.asks(
        "resolve", saga_id, "--step", "reserve_hotel", "--outcome", "undone", "--reason", "by phone"
    )
    assert done.code == 0
    assert world.asks("watch", saga_id).code == 1
    assert json.loads(world.asks("show", saga_id, "--json").out)["status"] == "compensated"


def test_what_has_ended_is_run_again(world: World) -> None:
    """As a new saga; a decision does not fit the old one any more."""
    first = world.asks("start", "flight_booking", *GOOD, "--wait", "--json").json()["id"]

    again = world.asks("rerun", first, "--wait", "--json")

    assert (again.code, again.json()["status"]) == (0, "completed")
    assert again.json()["id"] != first
    late = world.asks("pause", first, "--reason", "too late")
    assert late.code == 1
    assert late.err.startswith("saga: ")


def test_what_is_unknown_is_exit_code_2(world: World) -> None:
    """A saga, a definition, a signal."""
    for arguments in (["show", "nope"], ["watch", "nope"], ["start", "nope"], ["signal", "nope", "approval"]):
        assert world.asks(*arguments).code == 2


def test_a_watch_is_left_quietly(world: World) -> None:
    """Ctrl-C ends the watching, not the saga."""
    world.knobs("flights", {"on": "reserve", "fault": "slow", "seconds": 2, "next": 1})
    saga_id = world.asks("start", "flight_booking", *GOOD).out.strip()
    watching = world.spawn("watch", saga_id, stdout=subprocess.PIPE)
    assert watching.stdout is not None
    watching.stdout.readline()

    watching.send_signal(signal.SIGINT)

    _, complaints = watching.communicate(timeout=10)
    assert (watching.returncode, complaints.strip()) == (130, "")


def test_on_a_terminal_there_are_tables(world: World) -> None:
    """With headings and colours; the exit code stays the same."""
    main, end = pty.openpty()
    showing = world.spawn("start", "flight_booking", *DECLINED, "--watch", stdin=end, stdout=end)
    os.close(end)
    text = b""
    with suppress(OSError):  # how a terminal says that nobody writes to it any more
        while piece := os.read(main, 4096):
            text += piece
    os.close(main)
    _, complaints = showing.communicate(timeout=10)

    assert (showing.returncode, complaints) == (1, "")
    assert b"compensation" in text
    assert b"\x1b[" in text


def test_serve_on_a_port_that_is_taken_says_so(world: World) -> None:
    """In a line, not a traceback."""
    port = world.url.rpartition(":")[2]
    serving = world.spawn("serve", "--port", port, "--store", "memory://", stdout=subprocess.PIPE)

    _, complaints = serving.communicate(timeout=20)

    assert serving.returncode != 0
    assert "another coordinator" in complaints
    assert "Traceback" not in complaints


def test_settings_that_do_not_do_are_all_told(saga: Terminal) -> None:
    """Exit code 2, each with its name."""
    result = saga("serve", "--port", "x", "--durability", "some", "--service", "flights=nowhere")

    assert result.code == 2
    assert [line.partition(":")[0] for line in result.err.splitlines()[1:]] == [
        "  --durability",
        "  --port",
        "  --service flights",
    ]
