"""The headers a participant receives with an attempt. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from saga.core.times import timestamp
from saga.language.http_texts import TOKEN, is_of_connection, is_own
from saga.ports.invoker import Invocation


def _version() -> str:
    try:
        return version("saga-coordinator")
    except PackageNotFoundError:  # run from a source tree
        return "0"


#: What every request carries.
OURS: Final = {"User-Agent": f"saga-coordinator/{_version()}", "Accept-Encoding": "identity"}


def attempt_headers(invocation: Invocation) -> dict[str, str]:
    """Return the headers of an attempt.

    Raises ``ValueError`` for a definition's header whose name is none, ``OverflowError`` or ``OSError`` for a
    deadline that is no time. A content type is announced with a body only: some servers refuse it without.
    """
    headers = {
        **OURS,
        "Idempotency-Key": invocation.key,
        "Saga-Id": invocation.saga_id,
        "Saga-Definition": invocation.definition,
        "Saga-Step": invocation.step,
        "Saga-Phase": invocation.phase,
        "Saga-Attempt": str(invocation.attempt),
        "Saga-Fence": str(invocation.fence),
        "Saga-Deadline": timestamp(invocation.deadline),
    }
    if invocation.body is not None:
        headers["Content-Type"] = "application/json"
    if invocation.action_key is not None:
        headers["Saga-Action-Key"] = invocation.action_key
    if invocation.callback is not None:
        headers["Saga-Callback"] = invocation.callback
    if invocation.traceparent is not None:
        headers["traceparent"] = invocation.traceparent
    if invocation.tracestate is not None:
        headers["tracestate"] = invocation.tracestate
    return headers | _theirs(invocation.headers) if invocation.headers else headers


def _theirs(given: Mapping[str, str]) -> dict[str, str]:
    """Return what a definition may set of its own headers, spelled so that it replaces ours."""
    theirs = {}
    for name, value in given.items():
        if not TOKEN.fullmatch(name):
            raise ValueError("the name of a header is not one")
        if not is_own(name) and not is_of_connection(name):
            theirs["User-Agent" if name.lower() == "user-agent" else name] = value
    return theirs
