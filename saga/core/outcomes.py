"""What a participant's answer means: pure functions from an answer to an :data:`Outcome`.

=========================================  ================================================
an attempt's answer                        outcome
=========================================  ================================================
2xx but 202, complete and readable         succeeded; refused when ``refused_when`` is true
2xx but 202, cut, unreadable or oversized  uncertain: the effect has happened
202                                        pending
425                                        deferred
429, or the request was never sent         not executed
408, 5xx, no answer                        uncertain
409 after doubt                            uncertain: the original is still at work
3xx, other 4xx                             refused
a compensation: 2xx but 202, 410           succeeded (undone), whatever the body
=========================================  ================================================

``on_status`` overrides a row; ``refused_when`` is asked of every answer that would otherwise be a success.
A status outside 200 to 599 says nothing and is uncertain.

Details name the status and nothing of the answer's body or headers: a participant's words may hold
personal data, and details are shown in lists and logs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal, Protocol, TypeAlias

from saga.core.addresses import same_host
from saga.core.backoff import parse_retry_after
from saga.core.bodies import Read, read_json, read_text
from saga.core.entries.base import Cause
from saga.language.expressions import truth
from saga.language.fields import Phase
from saga.language.http_texts import phrase
from saga.ports.invoker import Answer, Answered, NotSent

#: Characters of a detail.
MAX_DETAIL: Final = 500

# Each kind has a ``word``, by which journals name it for ever, whatever its class is called.

# outcomes


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeeded:
    """The action took effect; of a compensation: it is undone."""

    word: ClassVar[str] = "succeeded"
    #: The JSON value (``str`` with ``accept: text``); None when there is none or it could not be read.
    body: Any
    #: None when the outcome came by callback.
    status: int | None
    #: Header names in lower case.
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A no."""

    word: ClassVar[str] = "refused"
    detail: str
    #: The definition itself declares it (``on_status``, ``refused_when``), so that it settles doubt too;
    #: on a compensation: park now.
    declared: bool
    #: None when the outcome came by callback.
    status: int | None
    #: The JSON value or text when there was one to read, else None; not for showing.
    body: Any = None
    #: The ``error.kind``.
    cause: Cause = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncertain:
    """It may have happened."""

    word: ClassVar[str] = "uncertain"
    detail: str
    #: None when no answer came.
    status: int | None = None
    #: Seconds the participant asks to wait.
    retry_after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotExecuted:
    """It certainly did not happen."""

    word: ClassVar[str] = "not-executed"
    detail: str
    #: Seconds the participant asks to wait.
    retry_after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """The participant has taken it on; the outcome comes by callback or is asked for."""

    word: ClassVar[str] = "pending"
    #: Absolute address to ask, on the host the request went to; None when there is none.
    location: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deferred:
    """Too early: the same request is to be sent again, and this one counts for nothing."""

    word: ClassVar[str] = "deferred"
    #: Seconds the participant asks to wait.
    retry_after: float | None = None


Outcome: TypeAlias = Succeeded | Refused | Uncertain | NotExecuted | Pending | Deferred


class Call(Protocol):
    """What a definition says about the answers to one of its calls."""

    @property
    def accept(self) -> Literal["json", "text"]:
        """How a body is read."""

    @property
    def on_status(self) -> Mapping[str, str]:
        """A code ("404") or a class ("5xx") to succeeded, refused, retry, uncertain or pending."""

    @property
    def refused_when(self) -> str | None:
        """A template; when it is true of a successful answer, that answer is a no."""


# the answer to an attempt


def classify(call: Call, phase: Phase, answer: Answer, *, url: str, doubt: bool, now: float) -> Outcome:
    """Return what the answer to an attempt means.

    ``url`` is the address the request went to, ``doubt`` whether an earlier attempt of the same invocation
    is uncertain, ``now`` epoch seconds (for a ``Retry-After`` that is a date).
    """
    if isinstance(answer, NotSent):
        return NotExecuted(detail=answer.detail[:MAX_DETAIL])
    if not isinstance(answer, Answered):
        return Uncertain(detail=answer.detail[:MAX_DETAIL])
    verdict = _declared(call.on_status, answer.status)
    if verdict is not None:
        return _by_declaration(verdict, call, answer, url, now)
    if _is_success(phase, answer.status):
        return _success(call, phase, answer)
    return _by_status(answer, url=url, doubt=doubt, now=now) or _refused(call, answer)


def _declared(on_status: Mapping[str, str], status: int) -> str | None:
    """Return what the definition says of the status: the exact code wins over its class."""
    if not on_status:
        return None
    return on_status.get(str(status)) or on_status.get(f"{status // 100}xx")


def _by_declaration(verdict: str, call: Call, answer: Answered, url: str, now: float) -> Outcome:
    match verdict:
        case "succeeded":
            # The code is the verdict, so a body that cannot be read leaves no doubt, only no output.
            return _unless_refused(call, _read(call, answer), answer.status, answer.headers)
        case "refused":
            return _refused(call, answer, declared=True)
        case "pending":
            return Pending(location=same_host(url, answer.headers.get("location")))
        case _:  # retry and uncertain: as 5xx
            return _uncertain(answer, now)


def _is_success(phase: Phase, status: int) -> bool:
    return (200 <= status <= 299 and status != 202) or (phase == "compensation" and status == 410)


def _success(call: Call, phase: Phase, answer: Answered) -> Outcome:
    read = _read(call, answer)
    if read.problem is not None and phase == "action":
        detail = f"{_said(answer.status)}, but the body {read.problem}: the effect has happened"
        return Uncertain(detail=detail, status=answer.status)
    return _unless_refused(call, read, answer.status, answer.headers)


def _by_status(answer: Answered, *, url: str, doubt: bool, now: float) -> Outcome | None:
    """Return what the status alone says, None when it is a no."""
    status = answer.status
    if status == 202:
        return Pending(location=same_host(url, answer.headers.get("location")))
    if status == 425:
        return Deferred(retry_after=_retry_after(answer, now))
    if status == 429:
        return NotExecuted(detail=_said(status), retry_after=_retry_after(answer, now))
    if status == 409 and doubt:
        return _uncertain(answer, now, ": the original is still at work")
    return None if 300 <= status <= 499 and status != 408 else _uncertain(answer, now)


def _uncertain(answer: Answered, now: float, because: str = "") -> Uncertain:
    detail = _said(answer.status) + because
    return Uncertain(detail=detail, status=answer.status, retry_after=_retry_after(answer, now))


def _refused(call: Call, answer: Answered, *, declared: bool = False) -> Refused:
    detail = _said(answer.status) + (", which on_status takes as refused" if declared else "")
    return Refused(detail=detail, declared=declared, status=answer.status, body=_read(call, answer).value)


def _retry_after(answer: Answered, now: float) -> float | None:
    return parse_retry_after(answer.headers.get("retry-after"), now)


def _said(status: int) -> str:
    return f"answered {status} {phrase(status)}".rstrip()


# polls and callbacks


def poll_outcome(call: Call, phase: Phase, answer: Answer) -> Outcome | None:
    """Return what the answer to a poll of a pending invocation means; None is: ask again.

    ``on_status`` speaks of attempts and has no say here. A successful answer to an action's poll whose
    body cannot be read is asked for again, for asking changes nothing.
    """
    if not isinstance(answer, Answered):
        return None
    status = answer.status
    if 200 <= status <= 299 and status != 202:
        read = _read(call, answer)
        unreadable = read.problem is not None and phase == "action"
        return None if unreadable else _unless_refused(call, read, status, answer.headers)
    asked_again = status in {404, 408, 425, 429} or not 400 <= status <= 499
    return None if asked_again else _refused(call, answer)


def callback_outcome(
    call: Call,
    phase: Phase,
    outcome: Literal["succeeded", "refused"],
    output: Any = None,
    error: str | None = None,
) -> Succeeded | Refused:
    """Return what a callback means: its ``output`` stands where a body would.

    There is no status then, and no header. The ``error`` was written for us to show, so it becomes the
    detail, on one line.
    """
    if outcome == "succeeded":
        return _unless_refused(call, Read(value=output), None, {})
    words = "".join(char if char.isprintable() else " " for char in (error or "")[:MAX_DETAIL])
    detail = words.strip() or f"called back: the {phase} is refused"
    return Refused(detail=detail, declared=False, status=None)


def _unless_refused(
    call: Call, read: Read, status: int | None, headers: Mapping[str, str]
) -> Succeeded | Refused:
    """Return the success, or the refusal when ``refused_when`` is true of it."""
    if call.refused_when is not None:
        response = {"status": status, "headers": headers, "body": read.value}
        if truth(call.refused_when, {"response": response}):
            said = "called back" if status is None else _said(status)
            return Refused(
                detail=f"{said}, and refused_when is true", declared=True, status=status, body=read.value
            )
    return Succeeded(body=read.value, status=status, headers=headers)


_FAULTS: Final[Mapping[str, Read]] = {
    "cut": Read(problem="ends early or is garbled"),
    "too-large": Read(problem="is over the size limit"),
    "slow": Read(problem="did not end in time"),
}


def _read(call: Call, answer: Answered) -> Read:
    """Return the body as the call accepts it; an empty one is null."""
    if answer.fault is not None:
        return _FAULTS[answer.fault]
    return read_text(answer.body) if call.accept == "text" else read_json(answer.body)
