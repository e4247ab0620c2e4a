"""The example's participants, as real processes, driven over plain HTTP as a coordinator would drive them."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
LOST = (http.client.RemoteDisconnected, ConnectionError)


@dataclass
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def send(url: str, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Reply:
    """Send exactly one request; nothing is retried."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    content = None if body is None else json.dumps(body).encode()
    try:
        connection.request(method, path, content, {"content-type": "application/json"} | (headers or {}))
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders() if name.lower() != "date"}
        return Reply(answer.status, found, answer.read())
    finally:
        connection.close()


@dataclass
class Step:
    """One step of one saga at one participant: its action and its compensation, sent as often as a test likes."""

    url: str
    saga: str = "s1"
    name: str = "reserve_flight"
    path: str = "/reservations"
    body: dict[str, Any] = field(default_factory=lambda: {"flight": "LH400"})
    undo: tuple[str, str] = ("DELETE", "/reservations/{id}")
    fence: int = 1
    callback: str | None = None
    attempts: int = 0

    @property
    def key(self) -> str:
        return f"{self.saga}:{self.name}"

    def act(self, **changed: Any) -> Reply:
        return send(
            self.url, "POST", self.path, {"id": self.key, **self.body, **changed}, self._headers("action")
        )

    def compensate(self) -> Reply:
        method, path = self.undo
        headers = self._headers("compensation") | {"Saga-Action-Key": f"{self.key}:action"}
        return send(self.url, method, path.format(id=quote(self.key, safe="")), None, headers)

    def _headers(self, phase: str) -> dict[str, str]:
        self.attempts += 1
        return {
            "Idempotency-Key": f"{self.key}:{phase}",
            "Saga-Id": self.saga,
            "Saga-Definition": "flight_booking",
            "Saga-Step": self.name,
            "Saga-Phase": phase,
            "Saga-Attempt": str(self.attempts),
            "Saga-Fence": str(self.fence),
            "Saga-Deadline": "2030-01-01T00:00:00Z",
        } | ({"Saga-Callback": self.callback} if self.callback else {})


def charge(url: str, card: str = "4242424242424242") -> Step:
    body = {"amount": 240, "card": card}
    return Step(url, name="charge_card", path="/charges", body=body, undo=("POST", "/charges/{id}/refund"))


def start(*arguments: str) -> tuple[subprocess.Popen[str], dict[str, str]]:
    """Start participants, and return the process with the addresses it prints when they are ready."""
    command = [sys.executable, "-m", "examples.flight_booking", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "the participants did not start"
    return process, json.loads(line)


def stop(process: subprocess.Popen[str]) -> int:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    code = process.wait(10)
    assert process.stdout is not None
    process.stdout.close()
    return code


def knobs(url: str, *rules: dict[str, Any], seed: int = 0) -> None:
    assert send(url, "PUT", "/knobs", {"seed": seed, "rules": list(rules)}).status == 200


def ledger(url: str, saga: str = "s1") -> Any:
    return send(url, "GET", f"/ledger?saga={saga}").json()


def eventually(probe: Callable[[], Any]) -> Any:
    """Return the first true answer of the probe; the test's own timeout ends it."""
    while not (found := probe()):
        time.sleep(0.01)
    return found


@pytest.fixture(scope="module")
def fleet() -> Iterator[dict[str, str]]:
    process, addresses = start("--port-base", "0")
    yield addresses
    assert stop(process) == 0


@pytest.fixture
def saga(request: pytest.FixtureRequest) -> str:
    """An id of its own for each test, so that tests can share the participants."""
    return f"s-{request.node.name}".replace("[", ".").replace("]", "")


@pytest.fixture
def flights(fleet: dict[str, str]) -> Iterator[str]:
    yield fleet["flights"]
    knobs(fleet["flights"])


@pytest.fixture
def payments(fleet: dict[str, str]) -> Iterator[str]:
    yield fleet["payments"]
    knobs(fleet["payments"])


class Callbacks(HTTPServer):
    """Stands where the coordinator's callback address is."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.statuses: list[int] = []
        super().__init__(("127.0.0.1", 0), _Callback)
        self.url = f"http://127.0.0.1:{self.server_port}/v1/callbacks/token"


class _Callback(BaseHTTPRequestHandler):
    server: Callbacks

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 200)
        self.send_header("content-length", "0")
        self.end_headers()
        self.server.told.append(json.loads(body))

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def callbacks() -> Iterator[Callbacks]:
    server = Callbacks()
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


# what they sell


def test_all_five_are_up_and_say_who_they_are(fleet: dict[str, str]) -> None:
    """The addresses printed at the start are theirs."""
    assert list(fleet) == ["flights", "hotels", "payments", "cars", "tickets"]
    for name, url in fleet.items():
        assert send(url, "GET", "/healthz").json() == {"status": "ok", "service": name}


def test_a_booking_that_completes(fleet: dict[str, str], saga: str) -> None:
    """Every route of the definitions, in their order."""
    seat = Step(fleet["flights"], saga).act()
    assert seat.status == 201
    assert seat.json() == {"id": f"{saga}:reserve_flight", "flight": "LH400", "price": seat.json()["price"]}
    room = Step(fleet["hotels"], saga, "reserve_hotel", body={"hotel": "Ritz"}).act()
    car = Step(fleet["cars"], saga, "rent_car", "/rentals?class=van", {}).act()
    assert (room.status, car.json()["price"]) == (201, 90)
    paid = charge(fleet["payments"])
    paid.saga = saga
    assert paid.act().json()["status"] == "CHARGED"
    for service in ("flights", "tickets"):
        step = Step(fleet[service], saga, "issue_ticket", "/tickets", {"reservation": seat.json()["id"]})
        assert step.act().json()["number"].startswith("125-")
    assert ledger(fleet["flights"], saga)["summary"]["says"] == "1 reservation held, 1 ticket issued"


@pytest.mark.parametrize(
    ("service", "step", "status"),
    [
        ("flights", {"body": {"flight": "FULL-1"}}, 422),
        ("flights", {"body": {}}, 400),
        ("hotels", {"body": {"hotel": "Full House"}}, 422),
        ("cars", {"path": "/rentals?class=tank", "body": {}}, 404),
        ("payments", {"path": "/charges", "body": {"amount": 1, "card": "4000 0000 0000 0002"}}, 402),
        ("payments", {"path": "/charges", "body": {"amount": "much"}}, 400),
    ],
)
def test_a_business_no_leaves_nothing(
    fleet: dict[str, str], saga: str, service: str, step: dict[str, Any], status: int
) -> None:
    """The no is repeated to a duplicate, and the ledger has no effect of it."""
    refused = Step(fleet[service], saga, **step)
    assert [refused.act().status, refused.act().status] == [status, status]
    books = ledger(fleet[service], saga)
    assert (books["effects"], books["summary"]["verdicts"]) == ([], {"replay": 1, "run": 1})


def test_a_card_declined_in_the_body_was_not_charged(payments: str, saga: str) -> None:
    """A 200 that says DECLINED; a refund finds nothing to give back, and says so with success."""
    declined = charge(payments, "4000000000000341")
    declined.saga = saga
    assert (declined.act().status, declined.act().json()["status"]) == (200, "DECLINED")
    assert declined.compensate().json()["state"] == "none"
    assert ledger(payments, saga)["effects"] == []


# duplicates, and what overtakes what


def test_a_duplicate_gets_the_same_answer_and_has_no_effect(flights: str, saga: str) -> None:
    """Byte for byte, headers too; only that it is a replay is added."""
    step = Step(flights, saga)
    first, again = step.act(), step.act()
    assert again.headers.pop("idempotent-replayed") == "true"
    assert again == first
    assert len(ledger(flights, saga)["effects"]) == 1


def test_the_key_with_another_body_is_refused(flights: str, saga: str) -> None:
    """422, and the first answer stands."""
    step = Step(flights, saga)
    step.act()
    assert step.act(flight="LH999").json()["type"] == "key-reused"


def test_a_compensation_undoes_once(flights: str, saga: str) -> None:
    """Its duplicate gets the same 200, and the action's duplicate a definite no."""
    step = Step(flights, saga)
    step.act()
    first, again = step.compensate(), step.compensate()
    assert (first.status, first.body) == (200, again.body)
    assert step.act().status == 410
    assert [effect["state"] for effect in ledger(flights, saga)["effects"]] == ["held", "released"]


def test_a_compensation_of_what_never_came_succeeds_and_stops_the_late_action(
    flights: str, saga: str
) -> None:
    """204; the action that arrives afterwards is refused, and nothing is held."""
    step = Step(flights, saga)
    assert step.compensate().status == 204
    late = step.act()
    assert (late.status, late.json()["type"]) == (410, "late-action")
    books = ledger(flights, saga)
    assert (books["effects"], books["items"]) == ([], [])
    assert (books["summary"]["null_compensations"], books["summary"]["late_actions"]) == (1, 1)


def test_an_older_fence_starts_nothing_new(flights: str, saga: str) -> None:
    """412, while what is remembered is still told."""
    step = Step(flights, saga, fence=5)
    step.act()
    step.fence = 4
    assert step.act().status == 201
    assert step.compensate().json()["type"] == "stale-fence"
    assert Step(flights, saga, "other", fence=4).act().status == 412


@pytest.mark.parametrize("missing", ["Idempotency-Key", "Saga-Action-Key"])
def test_a_request_without_its_keys_is_refused(flights: str, saga: str, missing: str) -> None:
    """400, and it says which header."""
    headers = {"Idempotency-Key": f"{saga}:compensation", "Saga-Action-Key": f"{saga}:action"}
    del headers[missing]
    reply = send(flights, "DELETE", "/reservations/x", headers=headers)
    assert (reply.status, missing in reply.json()["detail"]) == (400, True)


def test_the_ledger_keeps_what_a_judge_needs(flights: str, saga: str) -> None:
    """Every effect and every request in order, with key, digest, fence and attempt."""
    step = Step(flights, saga, fence=3)
    step.act()
    step.act()
    step.compensate()
    books = ledger(flights, saga)
    rows = books["effects"] + books["deliveries"]
    assert all(row["fence"] == 3 and row["digest"] and row["at"] > 0 and row["key"] for row in rows)
    assert [row["attempt"] for row in books["deliveries"]] == [1, 2, 3]
    assert [row["verdict"] for row in books["deliveries"]] == ["run", "replay", "run"]
    assert [row["attempt"] for row in books["effects"]] == [1, 3]
    assert books["effects"][0]["seq"] < books["effects"][1]["seq"]
    assert books["effects"][1]["action_key"] == books["effects"][0]["key"]


# knobs


def test_a_refusal_by_knob_is_remembered_like_any_other(flights: str, saga: str) -> None:
    """The duplicate gets it again, though the knob is used up."""
    knobs(flights, {"on": "reserve", "fault": "refuse", "next": 1})
    step = Step(flights, saga)
    assert [step.act().status, step.act().status] == [422, 422]
    assert send(flights, "GET", "/knobs").json()["rules"][0]["next"] == 0


@pytest.mark.parametrize(
    ("rule", "status", "effects"),
    [
        ({"fault": "fail"}, 503, 0),
        ({"fault": "fail", "status": 500, "at": "after"}, 500, 1),
        ({"fault": "too_early"}, 425, 0),
        ({"fault": "slow", "seconds": 0.01}, 201, 1),
        ({"fault": "slow", "seconds": 0.01, "at": "after"}, 201, 1),
    ],
)
def test_a_fault_that_answers(
    flights: str, saga: str, rule: dict[str, Any], status: int, effects: int
) -> None:
    """Whatever it was, the same request again ends with one effect."""
    knobs(flights, {"on": "reserve_flight", "next": 1} | rule)
    step = Step(flights, saga)
    assert step.act().status == status
    assert len(ledger(flights, saga)["effects"]) == effects
    assert step.act().status == 201
    assert len(ledger(flights, saga)["effects"]) == 1


@pytest.mark.parametrize(
    ("rule", "effects"),
    [
        ({"fault": "lose_answer"}, 1),
        ({"fault": "hang", "seconds": 0.01}, 0),
        ({"fault": "hang", "seconds": 0.01, "at": "after"}, 1),
    ],
)
def test_a_fault_that_does_not_answer(flights: str, saga: str, rule: dict[str, Any], effects: int) -> None:
    """The connection is closed; the retry ends with one effect."""
    knobs(flights, {"on": "action", "next": 1} | rule)
    step = Step(flights, saga)
    with pytest.raises(LOST):
        step.act()
    assert len(ledger(flights, saga)["effects"]) == effects
    assert step.act().status == 201
    assert len(ledger(flights, saga)["effects"]) == 1


def test_chances_are_the_same_for_the_same_requests(flights: str, saga: str) -> None:
    """Not by the order of arrival: what decides is the seed, the key and how often it came."""

    def refused(order: list[int], suffix: str, seed: int) -> set[int]:
        knobs(flights, {"on": "*", "fault": "too_early", "share": 0.5}, seed=seed)
        return {number for number in order if Step(flights, f"{saga}.{number}", suffix).act().status == 425}

    numbers = list(range(30))
    first = refused(numbers, "a", 1)
    assert 0 < len(first) < 30
    process, addresses = start("flights", "--port", "0")
    knobs(addresses["flights"], {"on": "*", "fault": "too_early", "share": 0.5}, seed=1)
    again = {
        n for n in reversed(numbers) if Step(addresses["flights"], f"{saga}.{n}", "a").act().status == 425
    }
    stop(process)
    assert again == first
    assert refused(numbers, "b", 2) != first


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"rule": []},
        {"seed": "x"},
        {"rules": [{"on": "reserve"}]},
        {"rules": [{"on": "*", "fault": "explode"}]},
        {"rules": [{"on": "*", "fault": "fail", "share": 2}]},
        {"rules": [{"on": "*", "fault": "fail", "next": 0.5}]},
        {"rules": [{"on": "*", "fault": "fail", "at": "noon"}]},
        {"rules": [{"on": "*", "fault": "fail", "often": 1}]},
    ],
)
def test_knobs_that_make_no_sense_are_refused(flights: str, document: Any) -> None:
    """422, and the old ones stand."""
    knobs(flights, {"on": "*", "fault": "fail", "next": 0})
    assert send(flights, "PUT", "/knobs", document).status == 422
    assert len(send(flights, "GET", "/knobs").json()["rules"]) == 1


# work that is done later


def test_accepted_work_is_done_once_and_told(flights: str, saga: str, callbacks: Callbacks) -> None:
    """202, a duplicate 202, then the callback, again until it is heard; later duplicates get the true answer."""
    callbacks.statuses = [503]
    knobs(flights, {"on": "reserve", "fault": "accept", "seconds": 0.2, "next": 1})
    step = Step(flights, saga, callback=callbacks.url)
    assert [step.act().status, step.act().status] == [202, 202]
    eventually(lambda: len(callbacks.told) == 2)
    assert callbacks.told[0] == callbacks.told[1]
    assert callbacks.told[0]["outcome"] == "succeeded"
    assert step.act().json() == callbacks.told[0]["output"]
    assert len(ledger(flights, saga)["effects"]) == 1


def test_accepted_work_can_be_asked_for(flights: str, saga: str) -> None:
    """202 while it is on its way, then the answer itself."""
    knobs(flights, {"on": "reserve", "fault": "accept", "seconds": 0.2, "by": "poll"})
    where = Step(flights, saga).act().headers["location"]
    assert send(flights, "GET", where).status == 202
    eventually(lambda: send(flights, "GET", where).status == 201)
    assert send(flights, "GET", "/operations/nobody/action").status == 404


def test_accepted_work_that_is_refused_in_the_end_is_told_so(
    payments: str, saga: str, callbacks: Callbacks
) -> None:
    """The business is asked only when it is done, and its no goes to the callback."""
    knobs(payments, {"on": "charge", "fault": "accept", "seconds": 0})
    declined = charge(payments, "4000000000000002")
    declined.saga, declined.callback = saga, callbacks.url
    assert declined.act().status == 202
    assert eventually(lambda: callbacks.told)[0]["outcome"] == "refused"


def test_accepted_work_that_is_compensated_first_is_never_done(flights: str, saga: str) -> None:
    """The compensation withdraws it, and whoever asks is told that it is gone."""
    knobs(flights, {"on": "reserve", "fault": "accept", "seconds": 0.1, "by": "poll"})
    step = Step(flights, saga)
    where = step.act().headers["location"]
    assert step.compensate().json()["state"] == "none"
    # A second piece of accepted work, due later, is done: so the first one's time has passed.
    other = Step(flights, saga, "other").act().headers["location"]
    eventually(lambda: send(flights, "GET", other).status == 201)
    assert send(flights, "GET", where).status == 410
    assert [effect["step"] for effect in ledger(flights, saga)["effects"]] == ["other"]


# crashes


def test_a_participant_killed_between_commit_and_answer_answers_after_its_restart(tmp_path: Path) -> None:
    """Kill -9 after the commit; on the same ledger the same request gets the answer that was never sent."""
    process, addresses = start("payments", "--port", "0", "--data", str(tmp_path))
    step = charge(addresses["payments"])
    knobs(addresses["payments"], {"on": "charge", "fault": "die"})
    with pytest.raises(LOST):
        step.act()
    assert stop(process) == -signal.SIGKILL
    process, addresses = start("payments", "--port", "0", "--data", str(tmp_path))
    step.url = addresses["payments"]
    assert step.act().headers["idempotent-replayed"] == "true"
    assert step.compensate().status == 200
    books = ledger(step.url)
    assert [effect["state"] for effect in books["effects"]] == ["charged", "refunded"]
    assert [row["verdict"] for row in books["deliveries"]] == ["run", "replay", "run"]
    assert stop(process) == 0


def test_accepted_work_survives_the_death_of_the_participant(tmp_path: Path, callbacks: Callbacks) -> None:
    """Noted with the 202, it is done and told by the process that comes after."""
    process, addresses = start("flights", "--port", "0", "--data", str(tmp_path))
    knobs(addresses["flights"], {"on": "*", "fault": "accept", "seconds": 0.5})
    step = Step(addresses["flights"], callback=callbacks.url)
    assert step.act().status == 202
    process.kill()
    stop(process)
    process, addresses = start("flights", "--port", "0", "--data", str(tmp_path))
    assert eventually(lambda: callbacks.told)[0]["output"]["flight"] == "LH400"
    assert len(ledger(addresses["flights"])["effects"]) == 1
    stop(process)


# the processes


def test_knobs_can_be_given_at_the_start() -> None:
    """By flag, for each service its own."""
    rules = {"flights": {"rules": [{"on": "*", "fault": "fail", "status": 500}]}}
    process, addresses = start("flights", "--port", "0", "--knobs", json.dumps(rules))
    assert Step(addresses["flights"]).act().status == 500
    stop(process)


@pytest.mark.parametrize("knobs", ["{", "[]", '{"boats": {}}', '{"flights": {"rules": 1}}'])
def test_bad_knobs_at_the_start_are_an_error(knobs: str) -> None:
    """Said in one line, with an exit code."""
    command = [sys.executable, "-m", "examples.flight_booking", "flights", "--port", "0", "--knobs", knobs]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (1, 2)
    assert "--knobs" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_an_error_and_stops_them_all(fleet: dict[str, str]) -> None:
    """No half a fleet stays behind."""
    taken = str(urlsplit(fleet["hotels"]).port)
    command = [sys.executable, "-m", "examples.flight_booking", "--port-base", taken]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "flights did not start" in done.stderr


def test_children_go_when_their_parent_is_killed() -> None:
    """The parent cannot tell them any more; they see its end of the pipe close."""
    process, addresses = start("--port-base", "0")
    process.kill()
    stop(process)
    for url in addresses.values():
        eventually(partial(_refuses, url))


def _refuses(url: str) -> bool:
    try:
        send(url, "GET", "/healthz")
    except OSError:
        return True
    return False


def test_the_package_runs_wherever_it_is_put(tmp_path: Path) -> None:
    """Under another name and from another folder, as a tool that ships it would start it."""
    (tmp_path / "shipped").symlink_to(ROOT / "examples" / "flight_booking")
    command = [sys.executable, "-m", "shipped", "--port-base", "0", "--watch-stdin"]
    process = subprocess.Popen(
        command,
        cwd="/",
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    out, _ = process.communicate(timeout=20)  # closes its standard input: it starts, prints and stops
    assert process.returncode == 0
    assert set(json.loads(out)) == {"flights", "hotels", "payments", "cars", "tickets"}


@pytest.mark.skipif(shutil.which("curl") is None, reason="the page uses curl")
def test_the_readme_shows_what_really_happens() -> None:
    """Each command in it is run, in order, and must print what stands below it."""
    process, addresses = start("--port-base", "0")
    for command, expected in _console(ROOT / "examples" / "flight_booking" / "README.md"):
        for port, url in enumerate(addresses.values(), start=9101):
            command = command.replace(f"http://127.0.0.1:{port}", url)
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        assert done.stdout.strip() == expected.strip(), command
    assert stop(process) == 0


def _console(path: Path) -> Iterator[tuple[str, str]]:
    """Return the commands of a page's console blocks, each with the output shown for it."""
    blocks = re.findall(r"```console\n(.*?)```", path.read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        for shown in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, output = re.split(r"(?<!\\)\n", shown, maxsplit=1)
            yield command, output
