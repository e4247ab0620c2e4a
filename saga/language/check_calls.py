"""What a call may be: where it goes, how it is written, how often it is tried."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeAlias
from urllib.parse import urlsplit

from saga.errors import Problem
from saga.language.durations import format_duration
from saga.language.expressions import ExpressionInvalid
from saga.language.http_texts import CONTROL, DOTS, TOKEN, is_of_connection, is_own
from saga.language.model import Call, Retry, SagaDefinition, Step, Worker
from saga.language.pointers import pointer
from saga.language.syntax import has_expression, parts
from saga.language.words import shown

Problems: TypeAlias = Iterator[Problem]

#: Longest time one attempt may take, in seconds.
MAX_ATTEMPT = 86_400.0
#: Shortest time between two questions about a pending call, in seconds.
MIN_POLL = 0.01

#: What is said of a condition that would hold always, or never.
NO_CONDITION = "is no condition, which holds an expression: write one as ${…}"

_STATUS = re.compile(r"[2-5](?:[0-9]{2}|xx)")


def wrong(at: str, detail: str) -> Problem:
    """Return what refuses a definition, told at that pointer."""
    return Problem(pointer=at, detail=detail)


# services


def check_services(definition: SagaDefinition, settings: frozenset[str] | None) -> Problems:
    """Check base addresses, and that every service that is called has one."""
    for name, service in definition.services.items():
        yield from _check_address(service.url, pointer("services", name, "url"))
        if service.key_lifetime == 0:
            yield wrong(pointer("services", name, "key_lifetime"), "must be longer than 0s")
    reported = set(definition.services) | (settings or frozenset())
    for at, call in _calls(definition):
        if call.service is not None and call.service not in reported:
            reported.add(call.service)
            yield _unaddressed(call.service, f"{at}/service", offline=settings is None)


def _unaddressed(name: str, at: str, *, offline: bool) -> Problem:
    setting = f"SAGA_SERVICE_{name.upper()}"
    return Problem(
        pointer=at,
        detail=f"service {name!r} has no address here: add it to 'services', or set {setting} at the server",
        severity="warning" if offline else "error",
    )


def _calls(definition: SagaDefinition) -> Iterator[tuple[str, Call]]:
    for at, step in enumerate(definition.steps):
        if step.action is not None:
            yield pointer("steps", at, "action"), step.action
        if isinstance(step.compensation, Call):
            yield pointer("steps", at, "compensation"), step.compensation


def _check_address(url: str, at: str) -> Problems:
    """Refuse an address that is not absolute, holds a password, or leaves something to input."""
    if "${" in url:
        detail = f"{shown(url)} holds ${{…}}, and input never chooses the host: put it into 'path'"
        yield wrong(at, detail)
        return
    try:
        split = urlsplit(url)
        hostname, _port = split.hostname, split.port
    except ValueError as error:
        yield wrong(at, f"{shown(url)} is no address: {error}")
        return
    if split.scheme not in ("http", "https") or not hostname or not url.isprintable() or " " in url:
        yield wrong(at, f"{shown(url)} is no absolute address: write one as in http://127.0.0.1:9101")
    elif "@" in split.netloc:
        yield wrong(at, "an address holds no user or password: send a header with ${secret.<name>}")
    elif "?" in url or "#" in url:
        yield wrong(at, f"{shown(url)} goes on behind '?' or '#': put parameters into 'query'")


# calls


def check_targets(written: SagaDefinition) -> Problems:
    """Check that each call says where it goes; ``written`` is the definition without its defaults.

    A request to a service's bare address is taken when it is asked for, as ``path: ""``, else hardly ever meant.
    """
    for at, call in _calls(written):
        if call.url is not None or "path" in call.model_fields_set:
            continue
        if call.service is not None:
            detail = f"goes to the bare address of {call.service!r}: add 'path', as in /reservations, or one of \"\""
            yield Problem(pointer=at, detail=detail, severity="warning")
        elif at.endswith("/compensation"):
            yield wrong(at, "says nowhere where it goes: add 'path', as in /reservations/${key}, or 'url'")


def check_calls(definition: SagaDefinition) -> Problems:
    """Check every call and every retry policy."""
    for at, step in enumerate(definition.steps):
        persistent = definition.position(step.name) == "after"
        here = pointer("steps", at)
        if step.action is not None:
            yield from _check_call(step.action, f"{here}/action", persistent=persistent)
        if step.worker is not None:
            yield from _check_attempts(step.worker, f"{here}/worker", persistent=persistent)
        yield from _check_compensation(step, f"{here}/compensation")


def _check_compensation(step: Step, at: str) -> Problems:
    if isinstance(step.compensation, Call):
        yield from _check_call(step.compensation, at, persistent=True)
    elif isinstance(step.compensation, Worker):
        yield from _check_attempts(step.compensation, f"{at}/worker", persistent=True)


def _check_call(call: Call, at: str, *, persistent: bool) -> Problems:
    yield from _check_target(call, at)
    yield from _check_path(call, f"{at}/path")
    yield from _check_query(call, f"{at}/query")
    yield from _check_headers(call, at)
    yield from _check_statuses(call, at)
    yield from _check_attempts(call, at, persistent=persistent)
    if call.refused_when is not None and not has_expression(call.refused_when):
        yield wrong(f"{at}/refused_when", f"{shown(call.refused_when)} {NO_CONDITION}")
    if call.pending.timeout == 0:
        yield wrong(f"{at}/pending/timeout", "must be longer than 0s")
    if call.pending.poll < MIN_POLL:
        yield wrong(f"{at}/pending/poll", f"must be 10ms or longer, not {format_duration(call.pending.poll)}")


def _check_target(call: Call, at: str) -> Problems:
    if call.service is not None and call.url is not None:
        yield wrong(f"{at}/url", "a call goes to a service or to a url: remove one of the two")
    if call.service is None and call.url is None:
        yield wrong(at, "say where the call goes: add 'service' or 'url'")
    if call.url is not None:
        yield from _check_address(call.url, f"{at}/url")


def _literals(text: str) -> list[str] | None:
    """Return the literal parts of a text; None when an expression is invalid, which is reported elsewhere."""
    try:
        return [part if isinstance(part, str) else "" for part in parts(text)]
    except ExpressionInvalid:
        return None


def _check_path(call: Call, at: str) -> Problems:
    literals = _literals(call.path)
    if not call.path or literals is None:
        return
    if not call.path.startswith("/"):
        yield wrong(
            at, f"{shown(call.path)} is no path, which begins with '/': write one as in /reservations"
        )
    if any("?" in literal for literal in literals):
        yield wrong(at, f"{shown(call.path)} holds a '?': put parameters into 'query', or write %3F")
    if any("#" in literal for literal in literals):
        yield wrong(at, f"{shown(call.path)} holds a '#': write %23")
    # A value stands for itself as "x": it is never empty and never a dot segment.
    spelled = "".join(part if isinstance(part, str) else "x" for part in parts(call.path))
    if any(DOTS.fullmatch(segment) for segment in spelled.split("/")):
        detail = f"{shown(call.path)} holds a segment '.' or '..': write the path it leads to"
        yield wrong(at, detail)


def _check_query(call: Call, at: str) -> Problems:
    for name, value in call.query.items():
        if not isinstance(value, str | int | float):
            detail = f"a parameter is text, a number or a boolean, or ${{…}} giving one, not {shown(value)}"
            yield wrong(f"{at}{pointer(name)}", detail)


def _check_headers(call: Call, at: str) -> Problems:
    seen: set[str] = set()
    for name, value in call.headers.items():
        here = f"{at}{pointer('headers', name)}"
        lower = name.lower()
        if TOKEN.fullmatch(name) is None:
            yield wrong(
                here,
                f"{shown(name)} is no header name: it has letters, digits and marks such as '-', and no spaces",
            )
        if is_own(name):
            yield wrong(here, f"the header {name!r} is set by the coordinator: remove it")
        elif is_of_connection(name):
            detail = f"the header {name!r} is about the connection and is not sent: remove it"
            yield Problem(pointer=here, detail=detail, severity="warning")
        if lower in seen:
            yield wrong(here, f"the header {name!r} stands here twice: case makes no difference")
        seen.add(lower)
        if any(CONTROL.search(literal) for literal in _literals(value) or ()):
            yield wrong(here, f"{shown(value)} holds a line break or another control character: remove it")


def _check_statuses(call: Call, at: str) -> Problems:
    for code in call.on_status:
        if _STATUS.fullmatch(code) is None:
            detail = f"{shown(code)} is neither a final status (404) nor a class of them (5xx): write 200 to 599, or 2xx to 5xx"
            yield wrong(f"{at}{pointer('on_status', code)}", detail)


# attempts


def _check_attempts(call: Call | Worker, at: str, *, persistent: bool) -> Problems:
    if not 0 < call.timeout <= MAX_ATTEMPT:
        said = format_duration(call.timeout)
        yield wrong(f"{at}/timeout", f"one attempt takes longer than 0s and at most 24h, not {said}")
    yield from _check_retry(call.retry, f"{at}/retry", persistent=persistent)


def _check_retry(retry: Retry, at: str, *, persistent: bool) -> Problems:
    if retry.within == 0:
        yield wrong(f"{at}/within", "must be longer than 0s")
    if retry.max < retry.initial:
        longest, first = format_duration(retry.max), format_duration(retry.initial)
        detail = (
            f"the longest wait ('max', {longest}) is shorter than the first ('initial', {first}): raise it"
        )
        yield wrong(f"{at}/max", detail)
    elif retry.initial == 0 and (persistent or retry.attempts is None):
        # A persistent call is repeated for as long as 'within', however often that is: 'attempts' bounds only
        # its refusals.
        yield wrong(f"{at}/initial", "without a bound on attempts a wait is longer than 0s: say how long")
