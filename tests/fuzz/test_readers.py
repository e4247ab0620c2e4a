"""Every reader of what others wrote takes any text or bytes: it reads them, or says no in the way it is said to.

Examples are more in a long run: ``SAGA_FUZZ_EXAMPLES=100000 pytest tests/fuzz/test_readers.py``.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saga.api import access, sagas
from saga.api.keys import CALLBACK_KEY
from saga.api.refusal import Refusal
from saga.core.addresses import same_host
from saga.core.backoff import parse_retry_after
from saga.core.encoding import decode, encode
from saga.core.entries import Entry
from saga.core.journal import replay
from saga.core.outcomes import classify, poll_outcome
from saga.core.tokens import Addressed, make_token, read_token
from saga.core.tracing import TRACESTATE_LIMIT, parse_traceparent, parse_tracestate
from saga.errors import UnreadableJournal
from saga.language.durations import LONGEST, parse_duration, parse_time
from saga.language.expressions import ExpressionInvalid, references
from saga.language.model import Call
from saga.language.syntax import MAX_LENGTH
from saga.ports.invoker import Answered
from tests.driver import World, defined, step
from tests.events import events
from tests.fuzz.cost import units

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("SAGA_FUZZ_EXAMPLES", "200"))
fuzzed = settings(deadline=None, max_examples=EXAMPLES)

NOW = 1_700_000_000.0
KEY = b"k" * 32
any_text = st.text(max_size=40)
headers = st.text(st.characters(codec="latin-1"), max_size=60)


def pieces(*texts: str) -> st.SearchStrategy[str]:
    """Return texts made of these, so that odd but nearly valid ones arise."""
    return st.lists(st.sampled_from(texts) | st.text(max_size=2), max_size=16).map("".join)


# --------------------------------------------------------------------------- headers

_DATES = pieces(
    "Sun, ", "Sunday, ", "Sun ", "06", " 6", "32", "-", " ", "Nov", "Feb", "29", "1994", "94", "0000", "9999",
    "08:49:37", "23:59:60", "24:00:00", " GMT", "GMT", "+00:00", "٣",
)  # fmt: skip


@fuzzed
@given(headers | any_text | _DATES | st.integers().map(str) | st.floats().map(str))
def test_retry_after_is_a_bounded_number_or_nonsense(text: str) -> None:
    """Never a time in the past, never without end."""
    seconds = parse_retry_after(text, NOW)
    assert seconds is None or (0 <= seconds < 10**12 and math.isfinite(seconds))


@fuzzed
@given(any_text | pieces("00", "ff", "-", "0" * 32, "a" * 32, "b" * 16, "0" * 16, "01"))
def test_a_traceparent_is_read_or_left(text: str) -> None:
    """What is read can be written again."""
    read = parse_traceparent(text)
    if read is not None:
        assert parse_traceparent(f"00-{read.trace_id}-{read.span_id}-00") is not None


@fuzzed
@given(any_text | pieces("a=1", ",", " ", "\t", "a@b=", "x" * 250, "=", "~"))
def test_a_tracestate_is_passed_on_or_left(text: str) -> None:
    """One line, no longer than it may be, and the same when it is read again."""
    read = parse_tracestate(text)
    if read is not None:
        assert len(read) <= TRACESTATE_LIMIT
        assert not set(read) & set("\r\n\0")
        assert parse_tracestate(read) == read


@fuzzed
@given(any_text | pieces("localhost", "127.0.0.1", ":", "80", "[", "]", "::1", "@", "/", "%", "?", "#", "x"))
def test_a_host_is_a_name_or_none(text: str) -> None:
    """Whatever is asked for; and only a loopback name is one."""
    ours = access._ours("127.0.0.1", "http://127.0.0.1:7242", (), text)
    assert not ours or (access._name(text) or "") in access._LOOPBACK


@fuzzed
@given(
    any_text | pieces("http://", "127.0.0.1", ":", "9101", "/", "..", "//", "\\", "@", "?", "#", "[::", "%2e")
)
def test_a_location_stays_on_its_host_or_is_left(text: str) -> None:
    """However it is spelled."""
    read = same_host("http://127.0.0.1:9101/a/b", text)
    assert (
        read is None
        or read == "http://127.0.0.1:9101"
        or read.startswith(("http://127.0.0.1:9101/", "http://127.0.0.1:9101?"))
    )


# --------------------------------------------------------------------------- tokens, cursors, times


@fuzzed
@given(
    any_text | pieces(".", "=", "-", "_", make_token(KEY, Addressed(saga_id="s", step="a", phase="action")))
)
def test_a_token_is_ours_or_nobodys(text: str) -> None:
    """Altered in any way it says nothing."""
    right = make_token(KEY, Addressed(saga_id="s", step="a", phase="action"))
    read = read_token(KEY, text)
    assert (read is not None) == (text == right)


@fuzzed
@given(any_text | pieces("=", "-", "_", "A", "W10", "é"))
def test_a_cursor_that_no_page_gave_is_refused(text: str) -> None:
    """As a parameter that is not what it must be."""
    request: Any = SimpleNamespace(app={CALLBACK_KEY: KEY})
    with pytest.raises(Refusal) as refused:
        sagas._after(request, text)
    assert refused.value.kind == "parameter-invalid"


@fuzzed
@given(any_text | pieces("1", "0", ".", "5", "ms", "s", "m", "h", "d", "-", "e", "9" * 15, "٣"))
def test_a_duration_is_one_or_is_not(text: str) -> None:
    """Finite, and no longer than there may be."""
    with contextlib.suppress(ValueError):
        assert 0 <= parse_duration(text) <= LONGEST


@fuzzed
@given(
    any_text
    | pieces(
        "2026",
        "0000",
        "9999",
        "-",
        "02",
        "29",
        "31",
        "T",
        " ",
        "23:59:60",
        "00:00:00",
        ".",
        "9" * 30,
        "Z",
        "+",
        "24:00",
        "-23:59",
    )
)
def test_a_time_is_one_or_is_not(text: str) -> None:
    """And a number that can be reckoned with."""
    with contextlib.suppress(ValueError, OverflowError):
        assert math.isfinite(parse_time(text))


@fuzzed
@given(
    st.lists(
        st.sampled_from(
            [
                "a",
                ".",
                "[",
                "]",
                "(",
                ")",
                "{",
                "}",
                "|",
                "&",
                "!",
                "@",
                "`",
                "'",
                '"',
                "\\",
                "*",
                "?",
                ",",
                ":",
                "${",
                "$",
                " ",
                "map",
                "[*]",
                "\0",
                "é",
            ]
        ),
        max_size=MAX_LENGTH,
    )
)
def test_an_expression_is_read_in_bounded_time(parts: list[str]) -> None:
    """Or it is invalid; whatever its length up to the largest."""

    def read() -> None:
        with contextlib.suppress(ExpressionInvalid):
            references("${" + "".join(parts) + "}")

    assert units(read) < 20


# --------------------------------------------------------------------------- answers

_CALL = Call(
    service="any", refused_when="${response.body.no}", on_status={"402": "refused", "5xx": "pending"}
)
_bodies = st.binary(max_size=60) | st.sampled_from(
    [b"{}", b"1e999", b"[" * 99, b'"\\ud800"', b"\xef\xbb\xbf{}", b'{"no": 1}']
)
_answers = st.builds(
    Answered,
    status=st.integers(100, 999),
    headers=st.dictionaries(st.sampled_from(["retry-after", "location", "x"]), headers | _DATES),
    body=_bodies,
    fault=st.sampled_from([None, "cut", "slow", "too-large"]),
)


@fuzzed
@given(_answers, st.sampled_from(["action", "compensation"]), st.booleans())
def test_any_answer_means_something(answer: Answered, phase: Any, doubt: bool) -> None:  # noqa: FBT001 - drawn
    """An outcome with words that can be shown; a poll may be told to ask again."""
    outcome = classify(_CALL, phase, answer, url="http://127.0.0.1:1/a", doubt=doubt, now=NOW)
    assert isinstance(getattr(outcome, "detail", ""), str)
    json.dumps(getattr(outcome, "body", None)).encode()
    polled = poll_outcome(_CALL, phase, answer)
    assert polled is None or polled.word in ("succeeded", "refused", "uncertain", "pending")


# --------------------------------------------------------------------------- journals

_ODD: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=3,
)


@st.composite
def journals(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Return the entries of a saga that something was done to."""
    definition = defined(step("a"), step("b", pivot=True), step("c", no_undo=True))
    world = World.start(definition)
    for _ in range(draw(st.integers(0, 12))):
        offered = events(world)
        if not offered:
            break
        draw(st.sampled_from(offered))[1](world)
    return [json.loads(encode(entry)) for entry in world.journal]


@fuzzed
@given(
    st.binary(max_size=60)
    | _ODD.map(lambda value: json.dumps(value).encode())
    | _ODD.map(lambda kind: json.dumps({"kind": kind, "at": 1}).encode())
)
def test_any_bytes_are_an_entry_or_unreadable(body: bytes) -> None:
    """And nothing else."""
    with contextlib.suppress(UnreadableJournal):
        assert isinstance(decode(body), Entry)


@fuzzed
@given(journals(), st.data())
def test_a_journal_that_was_altered_is_read_or_unreadable(
    journal: list[dict[str, Any]], data: st.DataObject
) -> None:
    """Members changed, taken away or added; entries left out, repeated or put elsewhere."""
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(journal) - 1))
        what = data.draw(st.sampled_from(["change", "remove", "add", "drop", "repeat", "swap"]))
        entry = journal[at]
        if what == "change":
            entry[data.draw(st.sampled_from(sorted(entry)))] = data.draw(_ODD)
        elif what == "remove":
            del entry[data.draw(st.sampled_from(sorted(entry)))]
        elif what == "add":
            entry[
                data.draw(st.text(max_size=6) | st.sampled_from(["next_at", "until", "size", "signal"]))
            ] = data.draw(_ODD)
        elif what == "drop" and len(journal) > 1:
            del journal[at]
        elif what == "repeat":
            journal.insert(data.draw(st.integers(0, len(journal))), dict(entry))
        else:
            other = data.draw(st.integers(0, len(journal) - 1))
            journal[at], journal[other] = journal[other], journal[at]
        if not journal[at % len(journal)]:
            break
    with contextlib.suppress(UnreadableJournal):
        replay([decode(json.dumps(entry).encode()) for entry in journal])
