"""One call of the invoker is one request on the wire, and its answer claims no more than is known.

The participant is the hostile one, a process of its own. Time limits are short because they are what is
tested; nothing waits for luck.
"""

from __future__ import annotations

import asyncio
import resource
import shutil
import socket
import ssl
import subprocess
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from saga.core.bodies import BODY_LIMIT
from saga.invoker import HttpInvoker
from saga.ports.invoker import Answer, Answered, Invocation, NoAnswer, NotSent, Poll
from tests.hostile_process import HostileProcess

METHODS: Final = ("POST", "PUT", "DELETE", "GET", "PATCH", "HEAD")


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """Make a self-signed certificate for localhost with its key, or None where there is no openssl."""
    openssl = shutil.which("openssl")
    if openssl is None:
        return None
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    made = [openssl, "req", "-x509", *curve, *name, "-keyout", str(path), "-out", f"{path}.crt"]
    subprocess.run(made, check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


@pytest.fixture(scope="module")
def process(pem: Path | None) -> Iterator[HostileProcess]:
    """Run the hostile participant."""
    process = HostileProcess(pem)
    yield process
    process.close()


@pytest.fixture
def hostile(process: HostileProcess) -> HostileProcess:
    """Return the hostile participant, which has seen nothing yet."""
    process.forget()
    return process


@pytest.fixture
async def invoker() -> AsyncIterator[HttpInvoker]:
    """Make an invoker with no connections yet."""
    invoker = HttpInvoker()
    yield invoker
    await invoker.close()


def an_invocation(url: str, **changes: Any) -> Invocation:
    """Return an invocation of the address, with a time limit nobody should reach."""
    fields: dict[str, Any] = {
        "saga_id": "s1",
        "definition": "flight_booking",
        "step": "reserve_flight",
        "phase": "action",
        "attempt": 1,
        "key": "s1:reserve_flight:action",
        "action_key": None,
        "method": "POST",
        "url": url,
        "headers": {},
        "body": b'{"id":"s1:reserve_flight"}',
        "timeout": 5.0,
        "deadline": 1_700_000_000.0,
        "fence": 1,
    }
    return Invocation(**{**fields, **changes})


async def one_turn() -> None:
    """Let the event loop turn once."""
    await asyncio.sleep(0)


def answered(answer: Answer) -> Answered:
    """Return the answer, which must be one."""
    assert isinstance(answer, Answered), answer
    return answer


# --------------------------------------------------------------------------- what is sent


async def test_an_attempt_carries_what_a_participant_is_promised(
    invoker: HttpInvoker, hostile: HostileProcess
) -> None:
    """Every header of the protocol goes out once, with the bytes of path, query and body as given."""
    url = hostile.url("/ok/%7Ea%2Fb//c;d?x=%20+%c3%a9&y")
    await invoker.invoke(
        an_invocation(
            url,
            method="PATCH",
            step="issue_ticket[0]",
            phase="compensation",
            key="s1.child:issue_ticket[0]:compensation",
            action_key="s1.child:issue_ticket[0]:action",
            saga_id="s1.child",
            attempt=3,
            fence=7,
            headers={"X-Channel": "wéb", "Authorization": "Bearer t"},
            callback="http://127.0.0.1:7242/v1/callbacks/t0k3n",
            traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            tracestate="vendor=1",
            deadline=1_700_000_000.25,
        )
    )
    (seen,) = hostile.seen()
    head, _, body = seen["raw"].encode("latin-1").decode("utf-8").partition("\r\n\r\n")
    line, *headers = head.split("\r\n")
    assert line == "PATCH /ok/%7Ea%2Fb//c;d?x=%20+%c3%a9&y HTTP/1.1"
    assert body == '{"id":"s1:reserve_flight"}'
    assert sorted(headers) == sorted(
        [
            f"Host: 127.0.0.1:{hostile.ports['port']}",
            "User-Agent: saga-coordinator/0.1.0",
            "Accept: */*",
            "Accept-Encoding: identity",
            "Content-Type: application/json",
            "Content-Length: 26",
            "X-Channel: wéb",
            "Authorization: Bearer t",
            "Idempotency-Key: s1.child:issue_ticket[0]:compensation",
            "Saga-Id: s1.child",
            "Saga-Definition: flight_booking",
            "Saga-Step: issue_ticket[0]",
            "Saga-Phase: compensation",
            "Saga-Action-Key: s1.child:issue_ticket[0]:action",
            "Saga-Attempt: 3",
            "Saga-Fence: 7",
            "Saga-Deadline: 2023-11-14T22:13:20.250Z",
            "Saga-Callback: http://127.0.0.1:7242/v1/callbacks/t0k3n",
            "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "tracestate: vendor=1",
        ]
    )


@pytest.mark.parametrize("method", ["POST", "DELETE", "GET"])
async def test_without_a_body_none_is_announced(
    invoker: HttpInvoker, hostile: HostileProcess, method: str
) -> None:
    """No content type stands on a request without content: some servers refuse that."""
    await invoker.invoke(an_invocation(hostile.url("/ok"), method=method, body=None))
    (seen,) = hostile.seen()
    assert "content-type" not in seen["raw"].lower()
    assert seen["raw"].endswith("\r\n\r\n")


async def test_the_definition_cannot_pass_for_the_coordinator(
    invoker: HttpInvoker, hostile: HostileProcess
) -> None:
    """Headers that are ours, or that frame the message, are not taken from a definition."""
    stolen = {"idempotency-KEY": "x", "Saga-Fence": "9", "Saga-Other": "x", "traceparent": "x", "Host": "x"}
    framing = {"Content-Length": "1", "Transfer-Encoding": "chunked", "Connection": "close", "Expect": "x"}
    await invoker.invoke(an_invocation(hostile.url("/ok"), headers={**stolen, **framing, "X-Mine": "1"}))
    (seen,) = hostile.seen()
    raw = seen["raw"].lower()
    assert "x-mine: 1" in raw
    assert "idempotency-key: s1:reserve_flight:action\r\n" in raw
    assert ": x\r\n" not in raw
    assert raw.count("content-length") == 1
    assert not any(name in raw for name in ("transfer-encoding", "connection", "saga-other"))


async def test_every_attempt_has_the_same_bytes(invoker: HttpInvoker, hostile: HostileProcess) -> None:
    """Attempts differ in their number alone, on one connection or another."""
    for attempt, path in enumerate(("/ok", "/ok", "/close", "/ok"), start=1):
        await invoker.invoke(an_invocation(hostile.url(path), attempt=attempt))
    raws = [one["raw"].replace("/close", "/ok") for one in hostile.seen()]
    assert [raw.replace(f"Saga-Attempt: {n}", "Saga-Attempt: 1") for n, raw in enumerate(raws, 1)] == [
        raws[0]
    ] * 4


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\x00b"])
async def test_a_header_that_would_be_two_is_not_sent(
    invoker: HttpInvoker, hostile: HostileProcess, value: str
) -> None:
    """What cannot stand in a header never reaches the wire, and nobody is left in doubt."""
    answer = await invoker.invoke(an_invocation(hostile.url("/ok"), headers={"X-Note": value}))
    assert isinstance(answer, NotSent)
    assert hostile.seen() == []


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("a space", "/ok HTTP/1.1"),
        ("a line", "/ok\r\nX-Evil: 1"),
        ("not ASCII", "/é"),
    ],
)
async def test_an_address_that_is_not_encoded_is_not_sent(
    invoker: HttpInvoker, hostile: HostileProcess, name: str, url: str
) -> None:
    """The path is sent as given, so it has to be one."""
    answer = await invoker.invoke(an_invocation(hostile.url(url)))
    assert isinstance(answer, NotSent), name
    assert hostile.seen() == []


@pytest.mark.parametrize("url", ["", "nothing", "ftp://127.0.0.1/", "http:///x", "http://127.0.0.1:99999/"])
async def test_an_address_that_is_none_is_an_answer_too(invoker: HttpInvoker, url: str) -> None:
    """Nothing is raised, whatever was asked for."""
    assert isinstance(await invoker.invoke(an_invocation(url)), NotSent)


# --------------------------------------------------------------------------- exactly one request


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", ["/close", "/reset", "/bad-status-line", "/not-http", "/huge-header"])
async def test_a_request_without_an_answer_is_sent_once(
    invoker: HttpInvoker, hostile: HostileProcess, path: str, method: str
) -> None:
    """Whatever the method, a dropped connection is not answered by sending again."""
    answer = await invoker.invoke(an_invocation(hostile.url(path), method=method))
    assert isinstance(answer, NoAnswer)
    assert len(hostile.seen()) == 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", ["/second-dropped", "/second-reset"])
async def test_a_kept_connection_that_drops_the_next_request_leaves_doubt(
    invoker: HttpInvoker, hostile: HostileProcess, path: str, method: str
) -> None:
    """A reused connection that ends after the request is no proof that it was not executed."""
    first = await invoker.invoke(an_invocation(hostile.url(path), method=method, key="first"))
    second = await invoker.invoke(an_invocation(hostile.url(path), method=method, key="second"))
    assert answered(first).status == 204
    assert isinstance(second, NoAnswer)
    assert [(one["key"], one["connection"]) for one in hostile.seen()] == [
        ("first", hostile.seen()[0]["connection"]),
        ("second", hostile.seen()[0]["connection"]),
    ]


async def test_connections_are_kept(invoker: HttpInvoker, hostile: HostileProcess) -> None:
    """Calls one after the other use one connection."""
    for _ in range(5):
        answered(await invoker.invoke(an_invocation(hostile.url("/ok"))))
    assert len({one["connection"] for one in hostile.seen()}) == 1


@pytest.mark.parametrize("turns", [0, 10])
@pytest.mark.parametrize("misdeed", ["/-/close-idle", "/-/speak-idle"])
async def test_a_connection_that_went_bad_while_idle_is_not_used(
    invoker: HttpInvoker, hostile: HostileProcess, misdeed: str, turns: int
) -> None:
    """Whether or not the event loop has turned since, and noticed: another connection is taken.

    Were it used, its closing would leave a needless doubt, and a stray answer would pass for ours.
    """
    answered(await invoker.invoke(an_invocation(hostile.url("/ok"))))
    hostile.control("POST", misdeed)
    for _ in range(turns):
        await one_turn()
    answer = answered(await invoker.invoke(an_invocation(hostile.url("/ok"))))
    assert answer.body == b'{"ok": true}'
    assert len(hostile.seen()) == 2
    assert len({one["connection"] for one in hostile.seen()}) == 2


async def test_a_second_answer_is_nobodys(invoker: HttpInvoker, hostile: HostileProcess) -> None:
    """An answer too many is not taken for the next request's."""
    first = answered(await invoker.invoke(an_invocation(hostile.url("/two-answers"))))
    second = answered(await invoker.invoke(an_invocation(hostile.url("/ok"))))
    assert [first.body, second.body] == [b'{"ok": true}', b'{"ok": true}']
    assert len(hostile.seen()) == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["POST", "PUT", "GET"])
async def test_a_redirect_is_an_answer_and_not_followed(
    invoker: HttpInvoker, hostile: HostileProcess, method: str, status: int
) -> None:
    """A page that says 200 elsewhere is no success here."""
    url = hostile.url(f"/redirect?status={status}")
    answer = answered(await invoker.invoke(an_invocation(url, method=method)))
    assert (answer.status, answer.headers["location"]) == (status, "/ok")
    assert [one["path"] for one in hostile.seen()] == [f"/redirect?status={status}"]


async def test_no_cookies_are_kept(invoker: HttpInvoker, hostile: HostileProcess) -> None:
    """What one answer sets, no other request carries."""
    first = answered(await invoker.invoke(an_invocation(hostile.url("/cookie"))))
    await invoker.invoke(an_invocation(hostile.url("/ok")))
    assert first.headers["set-cookie"] == "a=1; Path=/, b=2; Path=/"
    assert "cookie:" not in hostile.seen()[1]["raw"].lower()


async def test_proxies_of_the_environment_are_not_used(
    invoker: HttpInvoker, hostile: HostileProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would see every secret, and repeat requests as it likes."""
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, hostile.before_reading("accept-and-close"))
    assert answered(await invoker.invoke(an_invocation(hostile.url("/ok")))).status == 200


# --------------------------------------------------------------------------- certainly not sent


async def test_a_closed_port_is_certain(invoker: HttpInvoker) -> None:
    """Nobody listens: not executed."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        answer = await invoker.invoke(an_invocation(f"http://127.0.0.1:{nobody.getsockname()[1]}/"))
    assert answer == NotSent(detail="no connection: connection refused")


async def test_a_name_that_is_none_is_certain(invoker: HttpInvoker) -> None:
    """The name is not found, wherever this runs: ``.invalid`` is reserved for that (RFC 2606)."""
    answer = await invoker.invoke(an_invocation("http://participant.invalid/"))
    assert isinstance(answer, NotSent)


async def test_a_connection_that_is_never_accepted_is_certain(invoker: HttpInvoker) -> None:
    """A full backlog answers no one; the limit on connecting ends it."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        first.connect(full.getsockname())
        second.setblocking(False)
        second.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}/"
        answer = await invoker.invoke(an_invocation(url, timeout=0.2))
    assert answer == NotSent(detail="no connection in time")


async def test_connecting_has_a_limit_of_its_own(
    invoker: HttpInvoker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt may take minutes, making its connection may not."""
    monkeypatch.setattr("saga.invoker.CONNECT_TIMEOUT", 0.1)
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        first.connect(full.getsockname())
        second.setblocking(False)
        second.connect_ex(full.getsockname())
        began = time.monotonic()
        url = f"http://127.0.0.1:{full.getsockname()[1]}/"
        answer = await invoker.invoke(an_invocation(url, timeout=77.7))
    assert answer == NotSent(detail="no connection in time")
    assert time.monotonic() - began < 10


async def test_plain_text_where_tls_belongs_is_certain(invoker: HttpInvoker, hostile: HostileProcess) -> None:
    """A handshake that fails comes before the request, and there is no falling back to plain text."""
    answer = await invoker.invoke(an_invocation(hostile.url("/ok").replace("http:", "https:")))
    assert isinstance(answer, NotSent)
    assert answer.detail.startswith("TLS failure")
    assert hostile.seen() == []


async def test_a_certificate_nobody_vouches_for_is_certain(
    invoker: HttpInvoker, hostile: HostileProcess
) -> None:
    """A self-signed certificate is refused before anything is sent."""
    if "tls" not in hostile.ports:
        pytest.skip("no openssl to make a certificate with")
    answer = await invoker.invoke(an_invocation(f"https://localhost:{hostile.ports['tls']}/ok"))
    assert isinstance(answer, NotSent)
    assert answer.detail.startswith("TLS failure")
    assert hostile.seen() == []


async def test_a_certificate_for_another_name_is_certain(hostile: HostileProcess, pem: Path | None) -> None:
    """An authority that is trusted does not vouch for every host."""
    if pem is None:
        pytest.skip("no openssl to make a certificate with")
    invoker = HttpInvoker(tls=ssl.create_default_context(cafile=pem))
    right = await invoker.invoke(an_invocation(f"https://localhost:{hostile.ports['tls']}/ok"))
    again = await invoker.invoke(an_invocation(f"https://localhost:{hostile.ports['tls']}/ok"))
    wrong = await invoker.invoke(an_invocation(f"https://127.0.0.1:{hostile.ports['tls']}/ok"))
    await invoker.close()
    assert [answered(right).status, answered(again).status] == [200, 200]
    assert len({one["connection"] for one in hostile.seen()}) == 1
    assert isinstance(wrong, NotSent)


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "[::ffff:169.254.169.254]", "[fe80::1]", "[64:ff9b::a9fe:a9fe]"]
)
async def test_link_local_addresses_are_refused(invoker: HttpInvoker, host: str) -> None:
    """Clouds keep credentials there."""
    answer = await invoker.invoke(an_invocation(f"http://{host}/latest/meta-data"))
    assert isinstance(answer, NotSent)
    assert "is a link-local or metadata address" in answer.detail


async def test_a_name_that_resolves_to_a_link_local_address_is_refused(
    invoker: HttpInvoker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address is judged after the name was resolved, when connecting."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 80))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)
    answer = await invoker.invoke(an_invocation("http://harmless.example/"))
    assert isinstance(answer, NotSent)
    assert "169.254.169.254" in answer.detail


async def test_a_resolver_that_hangs_for_one_name_holds_up_no_other(
    invoker: HttpInvoker, hostile: HostileProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty names hang, more than a default thread pool has threads, and the next one is found at once."""
    answer_now, real = threading.Event(), socket.getaddrinfo

    def getaddrinfo(host: str, *rest: Any) -> Any:
        if host != "localhost":
            answer_now.wait()
        return real("127.0.0.1", *rest)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    stuck = [
        asyncio.create_task(invoker.invoke(an_invocation(f"http://slow{n}.example/", timeout=0.5)))
        for n in range(40)
    ]
    for _ in range(10):  # turns of the event loop, in which every look-up is asked for
        await one_turn()
    quick = await invoker.invoke(an_invocation(f"http://localhost:{hostile.ports['port']}/ok"))
    waiting = [task for task in stuck if not task.done()]
    late = await asyncio.gather(*stuck)
    answer_now.set()
    assert answered(quick).status == 200
    assert len(waiting) == 40
    assert set(late) == {NotSent(detail="no connection in time")}


# --------------------------------------------------------------------------- certainly in doubt


@pytest.mark.parametrize("name", ["accept-and-close", "accept-and-reset"])
async def test_a_participant_that_closes_at_once_is_never_an_answer(
    invoker: HttpInvoker, hostile: HostileProcess, name: str
) -> None:
    """It may be seen before or after the request went out; both are told as they are, neither as an answer."""
    answer = await invoker.invoke(an_invocation(hostile.before_reading(name)))
    assert isinstance(answer, NoAnswer | NotSent)


@pytest.mark.parametrize("path", ["/silent", "/drip-headers", "/continue-for-ever"])
async def test_an_answer_that_does_not_come_in_time_is_none(
    invoker: HttpInvoker, hostile: HostileProcess, path: str
) -> None:
    """The time limit counts as a whole: neither a byte now and then nor "continue" extends it."""
    began = time.monotonic()
    answer = await invoker.invoke(an_invocation(hostile.url(path), timeout=0.2))
    assert answer == NoAnswer(detail="no answer in time")
    assert time.monotonic() - began < 10


async def test_a_participant_that_accepts_and_reads_nothing_leaves_doubt(
    invoker: HttpInvoker, hostile: HostileProcess
) -> None:
    """What was written waits to be read, and may be."""
    url = hostile.before_reading("accept-and-wait")
    answer = await invoker.invoke(an_invocation(url, body=b"x" * 1_000_000, timeout=0.2))
    assert answer == NoAnswer(detail="no answer in time")


# --------------------------------------------------------------------------- bodies


@pytest.mark.parametrize("path", ["/ok", "/gzip", "/deflate", "/bare-deflate", "/to-the-end", "/early-hints"])
async def test_a_complete_body_is_inflated(invoker: HttpInvoker, hostile: HostileProcess, path: str) -> None:
    """Whatever way it was framed and compressed, it is the body."""
    answer = answered(await invoker.invoke(an_invocation(hostile.url(path))))
    assert (answer.status, answer.body, answer.fault) == (200, b'{"ok": true}', None)


@pytest.mark.parametrize("path", ["/empty", "/empty-encoded", "/answer?status=204+No"])
async def test_an_empty_body_is_complete(invoker: HttpInvoker, hostile: HostileProcess, path: str) -> None:
    """Nothing, compressed or not, is nothing."""
    answer = answered(await invoker.invoke(an_invocation(hostile.url(path))))
    assert (answer.body, answer.fault) == (b"", None)


@pytest.mark.parametrize(
    "path",
    [
        "/cut",
        "/cut-chunk",
        "/half-close",
        "/gzip-cut",
        "/gzip-damaged",
        "/gzip-and-more",
        "/not-gzip",
        "/unknown-encoding",
        "/twice-encoded",
    ],
)
async def test_a_body_that_is_not_whole_is_told(
    invoker: HttpInvoker, hostile: HostileProcess, path: str
) -> None:
    """The status was seen, so the effect has happened; the body is not to be used."""
    answer = answered(await invoker.invoke(an_invocation(hostile.url(path))))
    assert (answer.status, answer.fault) == (200, "cut")
    assert len(hostile.seen()) == 1


async def test_a_chunk_that_is_none_is_not_success(invoker: HttpInvoker, hostile: HostileProcess) -> None:
    """The status may be lost with the chunk that came with it; either way there is doubt."""
    answer = await invoker.invoke(an_invocation(hostile.url("/bad-chunk")))
    assert isinstance(answer, NoAnswer) or answered(answer).fault == "cut"


@pytest.mark.parametrize("status", [200, 402, 500])
async def test_a_body_that_drips_is_slow(invoker: HttpInvoker, hostile: HostileProcess, status: int) -> None:
    """A status that was seen stays seen when the time is over."""
    url = hostile.url(f"/drip-body?status={status}")
    answer = answered(await invoker.invoke(an_invocation(url, timeout=0.4)))
    assert (answer.status, answer.fault) == (status, "slow")


async def test_a_megabyte_fits(invoker: HttpInvoker, hostile: HostileProcess) -> None:
    """The limit is the last size that is read."""
    fits = answered(await invoker.invoke(an_invocation(hostile.url("/just-fits"))))
    large = answered(await invoker.invoke(an_invocation(hostile.url("/just-too-large"))))
    assert (len(fits.body), fits.fault) == (BODY_LIMIT, None)
    assert (len(large.body), large.fault) == (BODY_LIMIT, "too-large")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/gzip-bomb", 200),
        ("/deflate-bomb", 200),
        ("/bare-deflate-bomb", 200),
        ("/inflates-to-nothing", 200),
        ("/endless", 200),
        ("/endless-error", 409),
    ],
)
async def test_memory_stays_flat_under_a_bomb(
    invoker: HttpInvoker, hostile: HostileProcess, path: str, status: int
) -> None:
    """300 KB that would be 300 MB, or a body without end, cost a few megabytes at most."""
    await invoker.invoke(an_invocation(hostile.url("/ok")))
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    try:
        answer = answered(await invoker.invoke(an_invocation(hostile.url(path))))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (answer.status, answer.fault) == (status, "too-large")
    assert peak < 6 * BODY_LIMIT
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident < 32 * 1024  # KB


async def test_a_connection_whose_body_was_left_is_not_used_again(
    invoker: HttpInvoker, hostile: HostileProcess
) -> None:
    """The rest of a body would be taken for the next answer."""
    await invoker.invoke(an_invocation(hostile.url("/endless")))
    answer = answered(await invoker.invoke(an_invocation(hostile.url("/ok"))))
    assert answer.body == b'{"ok": true}'


async def test_headers_are_text(invoker: HttpInvoker, hostile: HostileProcess) -> None:
    """Names are in lower case, repeated values are joined, and bytes that are not UTF-8 are replaced."""
    answer = answered(await invoker.invoke(an_invocation(hostile.url("/foreign-header"))))
    assert answer.headers == {"x-name": "J\ufffdrg", "x-two": "1, 2", "content-length": "0"}


@pytest.mark.parametrize("path", ["/many-headers", "/two-lengths"])
async def test_an_answer_that_breaks_the_rules_is_none(
    invoker: HttpInvoker, hostile: HostileProcess, path: str
) -> None:
    """Headers without end, or two lengths, are not an answer anybody should read."""
    assert isinstance(await invoker.invoke(an_invocation(hostile.url(path))), NoAnswer)


# --------------------------------------------------------------------------- polling, stopping


async def test_a_poll_is_one_get(invoker: HttpInvoker, hostile: HostileProcess) -> None:
    """Asking carries the given headers, and no body."""
    poll = Poll(url=hostile.url("/ok/1"), headers={"Authorization": "Bearer t"}, timeout=5)
    assert answered(await invoker.poll(poll)).body == b'{"ok": true}'
    (seen,) = hostile.seen()
    assert seen["raw"].startswith("GET /ok/1 HTTP/1.1\r\n")
    assert "Authorization: Bearer t\r\n" in seen["raw"]


async def test_cancellation_goes_through(invoker: HttpInvoker, hostile: HostileProcess) -> None:
    """Who cancels a call is not answered, and the next call is not harmed."""
    call = asyncio.create_task(invoker.invoke(an_invocation(hostile.url("/silent"))))
    while not hostile.seen():
        await one_turn()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert answered(await invoker.invoke(an_invocation(hostile.url("/ok")))).status == 200


async def test_closing_ends_calls_in_flight_at_once(hostile: HostileProcess) -> None:
    """What was sent stays in doubt, a body that was begun is cut, and nothing is sent afterwards."""
    invoker = HttpInvoker()
    silent = asyncio.create_task(invoker.invoke(an_invocation(hostile.url("/silent"))))
    drip = asyncio.create_task(invoker.invoke(an_invocation(hostile.url("/drip-body"))))
    while len(hostile.seen()) < 2:
        await one_turn()
    hostile.seen()  # asked after both were served, so that the status of the second is on our side by now
    for _ in range(10):
        await one_turn()
    await invoker.close()
    await invoker.close()
    in_doubt, begun = await asyncio.wait_for(asyncio.gather(silent, drip), 1)
    assert in_doubt == NoAnswer(detail="the coordinator is stopping")
    assert (answered(begun).status, answered(begun).fault) == (200, "cut")
    after = await invoker.invoke(an_invocation(hostile.url("/ok")))
    assert after == NotSent(detail="the coordinator is stopping")
    assert len(hostile.seen()) == 2
