"""The table of what an answer means, row by row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Final, Literal
from unittest.mock import ANY

import pytest

from saga.core.bodies import Fault
from saga.core.outcomes import (
    Call,
    Deferred,
    NotExecuted,
    Outcome,
    Pending,
    Refused,
    Succeeded,
    Uncertain,
    callback_outcome,
    classify,
    poll_outcome,
)
from saga.language.fields import Phase
from saga.ports.invoker import Answer, Answered, NoAnswer, NotSent

FAULTS: Final[tuple[Fault | None, ...]] = (None, "cut")
URL: Final = "http://flights.example:9101/reservations/s1?x=1"
NOW: Final = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT
PHASES: Final[tuple[Phase, ...]] = ("action", "compensation")
DECLINED: Final = "${response.body.status == 'DECLINED'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ACall:
    """A call as a definition has it."""

    accept: Literal["json", "text"] = "json"
    on_status: Mapping[str, str] = field(default_factory=dict)
    refused_when: str | None = None


PLAIN: Final = ACall()


def an_answer(status: int, body: bytes = b"{}", fault: Fault | None = None, **headers: str) -> Answered:
    """Return an answer; the underscores of header names are dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answered(status=status, headers=named, body=body, fault=fault)


def meaning(answer: Answer, call: Call = PLAIN, phase: Phase = "action", *, doubt: bool = False) -> Outcome:
    """Return what the answer means."""
    return classify(call, phase, answer, url=URL, doubt=doubt, now=NOW)


# --------------------------------------------------------------------------- without an answer


@pytest.mark.parametrize("phase", PHASES)
def test_a_request_that_was_not_sent_was_not_executed(phase: Phase) -> None:
    """Doubt of earlier attempts is not this attempt's business."""
    for doubt in (False, True):
        outcome = meaning(NotSent(detail="no connection"), phase=phase, doubt=doubt)
        assert outcome == NotExecuted(detail="no connection")


@pytest.mark.parametrize("phase", PHASES)
def test_a_request_without_an_answer_is_uncertain(phase: Phase) -> None:
    """It may have been executed."""
    assert meaning(NoAnswer(detail="reset"), phase=phase) == Uncertain(detail="reset")


def test_details_are_short() -> None:
    """An error's words are kept to what a list can show."""
    outcome = meaning(NoAnswer(detail="x" * 10_000))
    assert isinstance(outcome, Uncertain)
    assert len(outcome.detail) == 500


# --------------------------------------------------------------------------- success


@pytest.mark.parametrize("status", [200, 201, 203, 204, 206, 226, 299])
def test_a_2xx_with_a_readable_body_is_success(status: int) -> None:
    """Body, status and headers are there for the output."""
    outcome = meaning(an_answer(status, b'{"id": "r1"}', etag="7"))
    assert outcome == Succeeded(body={"id": "r1"}, status=status, headers={"etag": "7"})


@pytest.mark.parametrize("body", [b"", b" \r\n", b"null", b"\xef\xbb\xbf"])
def test_an_empty_body_is_null(body: bytes) -> None:
    """A participant need not say anything."""
    assert meaning(an_answer(200, body)) == Succeeded(body=None, status=200, headers={})


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b"123456789012345678901234567890", 123456789012345678901234567890),
        (b"9" * 1000, 10**1000 - 1),
        (b"1.5e300", 1.5e300),
        (b'"1e999"', "1e999"),
        (b"[" * 64 + b"]" * 64, json.loads("[" * 64 + "]" * 64)),
        (b"[" * 64 + b"1" + b"]" * 64, json.loads("[" * 64 + "1" + "]" * 64)),
        (b"[" + b"[]," * 100 + b"[]]", [[]] * 101),
        ('"ü\u2028😀"'.encode(), "ü\u2028😀"),
    ],
)
def test_json_is_read_exactly(body: bytes, value: Any) -> None:
    """Integers keep every digit; a byte order mark is ignored (RFC 8259 section 8.1)."""
    outcome = meaning(an_answer(200, body))
    assert isinstance(outcome, Succeeded)
    assert outcome.body == value
    assert type(outcome.body) is type(value)


@pytest.mark.parametrize(
    "body",
    [
        b"<html></html>",
        b'{"a": 1',
        b'{"a": 1} x',
        b"NaN",
        b"[Infinity]",
        b"[-Infinity]",
        b"1e999",
        b'{"a": [-1E+400]}',
        b"9" * 308 + b"e9",
        b"9" * 5000,
        b'"\\ud800"',
        b'"\xff"',
        b"{'a': 1}",
        b"[" * 65 + b"]" * 65,
        b'{"a":' * 65 + b"1" + b"}" * 65,
        b"[" * 100_000 + b"]" * 100_000,
        b"\xff\xfe{\x00}\x00",
    ],
)
def test_a_2xx_that_cannot_be_read_is_uncertain(body: bytes) -> None:
    """The effect has happened, though we cannot say what came of it."""
    outcome = meaning(an_answer(200, body, retry_after="5"))
    assert isinstance(outcome, Uncertain)
    assert outcome.status == 200
    assert outcome.detail.endswith("the effect has happened")


@pytest.mark.parametrize("fault", ["cut", "too-large", "slow"])
def test_a_2xx_that_is_not_whole_is_uncertain(fault: Fault) -> None:
    """Even if what came of it happens to be JSON."""
    assert isinstance(meaning(an_answer(201, b"{}", fault)), Uncertain)


def test_text_is_any_complete_body() -> None:
    """What is not UTF-8 is replaced; a body that is not whole is none."""
    call = ACall(accept="text")
    assert meaning(an_answer(200, "grün".encode()), call) == Succeeded(body="grün", status=200)
    assert meaning(an_answer(200, b"gr\xfcn"), call) == Succeeded(body="gr\ufffdn", status=200)
    assert meaning(an_answer(200, b""), call) == Succeeded(body="", status=200)
    assert isinstance(meaning(an_answer(200, b"gr", "cut"), call), Uncertain)


# --------------------------------------------------------------------------- a body that says no


def test_a_2xx_of_which_refused_when_is_true_is_a_declared_no() -> None:
    """The definition knows its participant's way of refusing."""
    call = ACall(refused_when=DECLINED)
    outcome = meaning(an_answer(200, b'{"status": "DECLINED"}'), call)
    assert isinstance(outcome, Refused)
    assert (outcome.declared, outcome.status, outcome.cause) == (True, 200, "refused")
    assert isinstance(meaning(an_answer(200, b'{"status": "OK"}'), call), Succeeded)
    assert isinstance(meaning(an_answer(200, b"{}"), call), Succeeded)
    assert isinstance(meaning(an_answer(200, b"gone wrong"), call), Uncertain)


def test_refused_when_sees_status_and_headers() -> None:
    """Header names are in lower case."""
    by_header = ACall(refused_when="${response.headers.\"x-outcome\" == 'no'}")
    by_status = ACall(refused_when="${response.status == `206`}")
    assert isinstance(meaning(an_answer(200, x_outcome="no"), by_header), Refused)
    assert isinstance(meaning(an_answer(200, x_outcome="yes"), by_header), Succeeded)
    assert isinstance(meaning(an_answer(206), by_status), Refused)
    assert isinstance(meaning(an_answer(200), by_status), Succeeded)


def test_refused_when_is_not_asked_of_a_202() -> None:
    """The outcome is still to come."""
    call = ACall(refused_when="${`true`}")
    assert isinstance(meaning(an_answer(202), call), Pending)


# --------------------------------------------------------------------------- the rows by status


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_202_is_pending(phase: Phase, fault: Fault | None) -> None:
    """Whatever its body."""
    assert meaning(an_answer(202, b"later", fault), phase=phase) == Pending()


@pytest.mark.parametrize(
    ("location", "asked"),
    [
        ("/operations/7?a=b#top", "http://flights.example:9101/operations/7?a=b"),
        ("7", "http://flights.example:9101/reservations/7"),
        ("?page=2", "http://flights.example:9101/reservations/s1?page=2"),
        ("http://FLIGHTS.example:9101/op", "http://FLIGHTS.example:9101/op"),
        ("//flights.example:9101/op", "http://flights.example:9101/op"),
        ("http://me:secret@flights.example:9101/op", "http://flights.example:9101/op"),
        ("http://flights.example/op", None),
        ("http://flights.example:9102/op", None),
        ("https://flights.example:9101/op", None),
        ("http://other.example:9101/op", None),
        ("http://flights.example:9101@other.example/op", None),
        ("http://flights.example.:9101/op", None),
        ("//other.example/op", None),
        ("\\\\other.example/op", None),
        ("/op\r\nx: y", None),
        ("/op\t", None),
        ("/ö", None),
        ("http://[", None),
        ("http://flights.example:x/op", None),
        ("ftp://flights.example:9101/op", None),
        ("javascript:alert(1)", None),
        ("", None),
        ("/" + "x" * 3000, None),
    ],
)
def test_a_location_is_asked_only_on_the_same_host(location: str, asked: str | None) -> None:
    """Another scheme, host or port is not ours to ask; what is malformed is ignored."""
    assert meaning(an_answer(202, location=location)) == Pending(location=asked)


def test_the_default_port_is_the_same_port() -> None:
    """Written out or not."""
    answer = an_answer(202, location="http://h:80/op")
    outcome = classify(PLAIN, "action", answer, url="http://h/x", doubt=False, now=NOW)
    assert outcome == Pending(location="http://h:80/op")


@pytest.mark.parametrize(("phase", "doubt"), list(product(PHASES, (False, True))))
def test_a_425_is_deferred(phase: Phase, *, doubt: bool) -> None:
    """Too early: it counts for nothing."""
    assert meaning(an_answer(425), phase=phase, doubt=doubt) == Deferred()
    assert meaning(an_answer(425, retry_after="3"), phase=phase, doubt=doubt) == Deferred(retry_after=3.0)


@pytest.mark.parametrize("phase", PHASES)
def test_a_429_was_not_executed(phase: Phase) -> None:
    """And says when to come back, in seconds or as a date."""
    by_seconds = meaning(an_answer(429, retry_after="30"), phase=phase)
    by_date = meaning(an_answer(429, retry_after="Sun, 06 Nov 1994 08:50:37 GMT"), phase=phase)
    nonsense = meaning(an_answer(429, retry_after="nan"), phase=phase)
    assert by_seconds == NotExecuted(detail="answered 429 Too Many Requests", retry_after=30.0)
    assert by_date == NotExecuted(detail="answered 429 Too Many Requests", retry_after=60.0)
    assert nonsense == NotExecuted(detail="answered 429 Too Many Requests")


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("status", [408, 500, 501, 502, 503, 504, 507, 599])
def test_a_408_and_every_5xx_is_uncertain(status: int, phase: Phase) -> None:
    """It may have been done before it went wrong."""
    outcome = meaning(an_answer(status, b"oops", retry_after="2"), phase=phase)
    assert isinstance(outcome, Uncertain)
    assert (outcome.status, outcome.retry_after) == (status, 2.0)


@pytest.mark.parametrize("status", [100, 101, 103, 199, 600, 999])
def test_a_status_without_a_meaning_is_uncertain(status: int) -> None:
    """It is an answer, and says nothing."""
    assert meaning(an_answer(status)) == Uncertain(detail=ANY, status=status)


@pytest.mark.parametrize("phase", PHASES)
def test_a_409_after_doubt_is_the_original_at_work(phase: Phase) -> None:
    """A first one is a no like others."""
    first = meaning(an_answer(409), phase=phase)
    later = meaning(an_answer(409, retry_after="1"), phase=phase, doubt=True)
    assert isinstance(first, Refused)
    assert not first.declared
    assert later == Uncertain(
        detail="answered 409 Conflict: the original is still at work", status=409, retry_after=1.0
    )


@pytest.mark.parametrize("doubt", [False, True])
@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308, 399])
def test_a_redirect_is_refused(status: int, *, doubt: bool) -> None:
    """It is never followed, so it did nothing."""
    outcome = meaning(an_answer(status, b"", location="/login"), doubt=doubt)
    assert isinstance(outcome, Refused)
    assert not outcome.declared


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (413, "answered 413 Content Too Large"),
        (414, "answered 414 URI Too Long"),
        (416, "answered 416 Range Not Satisfiable"),
        (422, "answered 422 Unprocessable Content"),
        (402, "answered 402 Payment Required"),
        (499, "answered 499"),
    ],
)
def test_a_status_is_called_what_it_is_called_today(status: int, said: str) -> None:
    """On every Python: what is journaled on one is read on another."""
    outcome = meaning(an_answer(status))
    assert isinstance(outcome, Refused)
    assert outcome.detail == said


@pytest.mark.parametrize("doubt", [False, True])
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 410, 412, 413, 418, 422, 423, 451, 499])
def test_every_other_4xx_is_refused(status: int, *, doubt: bool) -> None:
    """A definite no; whether it settles earlier doubt is for the journal to say."""
    outcome = meaning(an_answer(status, b'{"title": "No"}'), doubt=doubt)
    assert isinstance(outcome, Refused)
    assert (outcome.declared, outcome.status, outcome.body) == (False, status, {"title": "No"})


def test_a_no_needs_no_body() -> None:
    """The status says it all."""
    for answer in (an_answer(404, b"<html>"), an_answer(404, b"{", "slow"), an_answer(404, b"", "cut")):
        assert meaning(answer) == Refused(detail="answered 404 Not Found", declared=False, status=404)


def test_details_hold_nothing_of_the_answer() -> None:
    """A participant's words may be personal; its headers may be secret."""
    for status, phase, fault in product((200, 402, 409, 429, 503, 302), PHASES, FAULTS):
        outcome = meaning(an_answer(status, b"Jane Doe", fault, x_name="Jane Doe"), phase=phase)
        assert "Jane" not in getattr(outcome, "detail", "")


# --------------------------------------------------------------------------- compensations


@pytest.mark.parametrize("status", [200, 201, 204, 410])
@pytest.mark.parametrize(
    ("body", "fault"), [(b"{}", None), (b"<html>", None), (b"{", "cut"), (b"", "too-large"), (b"", "slow")]
)
def test_a_compensation_is_undone_whatever_the_body(status: int, body: bytes, fault: Fault | None) -> None:
    """Nothing is read from it that anybody needs."""
    outcome = meaning(an_answer(status, body, fault), phase="compensation")
    assert isinstance(outcome, Succeeded)
    assert outcome.status == status


@pytest.mark.parametrize("status", [200, 410])
def test_a_compensation_that_refused_when_is_true_of_is_refused(status: int) -> None:
    """It is to be parked at once, which is what declared means."""
    call = ACall(refused_when=DECLINED)
    outcome = meaning(an_answer(status, b'{"status": "DECLINED"}'), call, "compensation")
    assert isinstance(outcome, Refused)
    assert outcome.declared
    assert isinstance(meaning(an_answer(status, b"<html>"), call, "compensation"), Succeeded)


def test_a_404_to_a_compensation_is_a_no_unless_declared() -> None:
    """Forgotten is not the same as undone."""
    declared = ACall(on_status={"404": "succeeded"})
    undeclared = meaning(an_answer(404), phase="compensation")
    assert isinstance(undeclared, Refused)
    assert not undeclared.declared
    assert isinstance(meaning(an_answer(404), declared, "compensation"), Succeeded)


# --------------------------------------------------------------------------- on_status


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("doubt", [False, True])
def test_a_declared_refusal_is_a_verdict(phase: Phase, *, doubt: bool) -> None:
    """It settles doubt, and parks a compensation."""
    call = ACall(on_status={"402": "refused", "5xx": "refused", "2xx": "refused"})
    for status in (402, 503, 200, 202):
        outcome = meaning(an_answer(status, b'{"code": 7}'), call, phase, doubt=doubt)
        assert isinstance(outcome, Refused)
        assert (outcome.declared, outcome.status, outcome.body) == (True, status, {"code": 7})


def test_a_declared_success_is_one_whatever_the_body() -> None:
    """The code is the participant's verdict; of a body that cannot be read only the output is lost."""
    call = ACall(on_status={"404": "succeeded", "202": "succeeded", "200": "succeeded"})
    for status in (404, 202, 200):
        assert meaning(an_answer(status, b"[1]"), call) == Succeeded(body=[1], status=status)
        assert meaning(an_answer(status, b"<html>"), call) == Succeeded(body=None, status=status)
        assert meaning(an_answer(status, b"[", "cut"), call) == Succeeded(body=None, status=status)


def test_a_declared_success_may_still_say_no() -> None:
    """``refused_when`` is asked of everything that would be a success."""
    call = ACall(on_status={"202": "succeeded"}, refused_when=DECLINED)
    outcome = meaning(an_answer(202, b'{"status": "DECLINED"}'), call)
    assert isinstance(outcome, Refused)
    assert outcome.declared


@pytest.mark.parametrize("verdict", ["retry", "uncertain"])
@pytest.mark.parametrize("status", [200, 202, 302, 404, 409, 425, 429, 500])
def test_a_declared_retry_is_in_doubt(status: int, verdict: str) -> None:
    """As a 5xx is, Retry-After included."""
    outcome = meaning(an_answer(status, retry_after="4"), ACall(on_status={str(status): verdict}))
    assert isinstance(outcome, Uncertain)
    assert (outcome.status, outcome.retry_after) == (status, 4.0)


def test_any_status_may_be_declared_pending() -> None:
    """Its Location is asked like that of a 202."""
    outcome = meaning(an_answer(303, location="/op"), ACall(on_status={"3xx": "pending"}))
    assert outcome == Pending(location="http://flights.example:9101/op")


def test_a_code_wins_over_its_class() -> None:
    """Whatever the order."""
    for declared in ({"5xx": "refused", "503": "retry"}, {"503": "retry", "5xx": "refused"}):
        call = ACall(on_status=declared)
        assert isinstance(meaning(an_answer(503), call), Uncertain)
        assert isinstance(meaning(an_answer(500), call), Refused)
        assert isinstance(meaning(an_answer(404), call), Refused)


# --------------------------------------------------------------------------- polls


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize(
    "answer",
    [
        NotSent(detail="no connection"),
        NoAnswer(detail="reset"),
        *(an_answer(status) for status in (101, 202, 302, 404, 408, 425, 429, 500, 503, 600)),
    ],
)
def test_a_poll_without_an_outcome_is_repeated(answer: Answer, phase: Phase) -> None:
    """202, 425 and errors say nothing yet."""
    assert poll_outcome(PLAIN, phase, answer) is None


def test_a_poll_answered_2xx_is_the_outcome() -> None:
    """Its body is the response's."""
    answer = an_answer(200, b'{"id": 1}')
    assert poll_outcome(PLAIN, "action", answer) == Succeeded(body={"id": 1}, status=200)


def test_a_poll_that_cannot_be_read_is_repeated_for_an_action_only() -> None:
    """Asking changes nothing, and a compensation needs no body."""
    for answer in (an_answer(200, b"<html>"), an_answer(200, b"{", "cut")):
        assert poll_outcome(PLAIN, "action", answer) is None
        assert isinstance(poll_outcome(PLAIN, "compensation", answer), Succeeded)


@pytest.mark.parametrize("phase", PHASES)
def test_refused_when_applies_to_polls(phase: Phase) -> None:
    """As to any success."""
    outcome = poll_outcome(ACall(refused_when=DECLINED), phase, an_answer(200, b'{"status": "DECLINED"}'))
    assert isinstance(outcome, Refused)
    assert outcome.declared


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("status", [400, 401, 403, 409, 410, 422])
def test_a_poll_answered_4xx_is_a_no(status: int, phase: Phase) -> None:
    """Which no definition declares: ``on_status`` is of attempts."""
    call = ACall(on_status={"4xx": "succeeded"})
    outcome = poll_outcome(call, phase, an_answer(status))
    assert isinstance(outcome, Refused)
    assert not outcome.declared


# --------------------------------------------------------------------------- callbacks


@pytest.mark.parametrize("phase", PHASES)
def test_a_callback_that_succeeds_is_success(phase: Phase) -> None:
    """Its output stands where a body would."""
    outcome = callback_outcome(PLAIN, phase, "succeeded", {"id": 1})
    assert outcome == Succeeded(body={"id": 1}, status=None)


@pytest.mark.parametrize("phase", PHASES)
def test_refused_when_applies_to_callbacks(phase: Phase) -> None:
    """There is no status and no header to see then."""
    call = ACall(refused_when=DECLINED)
    outcome = callback_outcome(call, phase, "succeeded", {"status": "DECLINED"})
    by_status = callback_outcome(ACall(refused_when="${response.status}"), phase, "succeeded", {})
    assert isinstance(outcome, Refused)
    assert outcome.declared
    assert isinstance(by_status, Succeeded)


@pytest.mark.parametrize("phase", PHASES)
def test_a_callback_that_refuses_is_an_undeclared_no(phase: Phase) -> None:
    """Its error is shown, on one line and cut short."""
    outcome = callback_outcome(ACall(refused_when="${`true`}"), phase, "refused", None, "sold\nout\x1b[0m")
    long = callback_outcome(PLAIN, phase, "refused", None, "x" * 10_000)
    silent = callback_outcome(PLAIN, phase, "refused")
    assert outcome == Refused(detail="sold out [0m", declared=False, status=None)
    assert isinstance(long, Refused)
    assert len(long.detail) == 500
    assert silent == Refused(detail=f"called back: the {phase} is refused", declared=False, status=None)
