"""The log: lines on standard error, for a person at a terminal, and as JSON anywhere else.

A line of JSON has ``time`` (RFC 3339), ``level``, ``logger`` and ``message``; where it is about one, ``saga_id`` and
``trace_id`` or ``request_id`` (:mod:`saga.log_fields`); ``held_back`` when lines like it were not written
(:mod:`saga.log_quiet`); ``exception`` with the way to an error.

What sagas hold is in no line. Errors that tell of values, such as a ``ValueError`` or a ``KeyError``, are named
without their words.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import structlog
from pydantic_core import to_json
from structlog.typing import EventDict, Processor

from saga.errors import SagaError
from saga.log_fields import fields
from saga.log_quiet import Quiet

#: Characters of a message, and of the way to an error, of which the end is what counts.
MESSAGE: Final = 2_000
EXCEPTION: Final = 8_000
#: Errors whose words may be a value of somebody's.
_OF_VALUES: Final = (ValueError, LookupError)


def configure(level: str = "INFO") -> None:
    """Write the log to standard error."""
    logging.basicConfig(level=level.upper(), handlers=[handler(sys.stderr)], force=True)
    # One line for every request it serves would say nothing that the journal does not.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    # At other levels it writes out commands, with all that sagas hold.
    logging.getLogger("pymongo").setLevel(logging.WARNING)


def handler(stream: TextIO) -> logging.Handler:
    """Return what writes the log to that stream."""
    made = logging.StreamHandler(stream)
    human = stream.isatty()
    shown: Sequence[Processor] = _HUMAN if human else _JSON
    made.setFormatter(structlog.stdlib.ProcessorFormatter(processors=[_facts, *shown]))
    made.addFilter(Quiet())
    return made


def _facts(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Return what is known of a line, in the order it is shown."""
    record: logging.LogRecord = event["_record"]
    at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    facts: EventDict = {
        "time": at.replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": str(event["event"])[:MESSAGE],
        **fields(),
    }
    held_back = getattr(record, "held_back", None)
    if held_back:
        facts["held_back"] = held_back
    _, error, _ = event.get("exc_info") or (None, None, None)
    if error is not None:
        facts["exception"] = "\n".join(_way_to(error))[-EXCEPTION:]
    return facts


def _way_to(error: BaseException) -> Iterator[str]:
    """Yield the lines of a traceback, causes first, without words that may be a value."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None:
        yield from _way_to(before)
        yield "which led to:"
    for frame in traceback.extract_tb(error.__traceback__):
        yield f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}'
    words = "" if isinstance(error, _OF_VALUES) and not isinstance(error, SagaError) else str(error)
    yield f"{type(error).__name__}{': ' if words else ''}{words}"


def _as_json(value: EventDict, **_options: Any) -> str:
    return to_json(value, inf_nan_mode="strings").decode()


def _one_line(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Keep a line one line: what comes from outside can forge none."""
    return {name: _printable(value) if name != "exception" else value for name, value in event.items()}


def _printable(value: Any) -> Any:
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in value)


_JSON: Final[Sequence[Processor]] = (structlog.processors.JSONRenderer(serializer=_as_json),)
_HUMAN: Final[Sequence[Processor]] = (
    _one_line,
    structlog.dev.ConsoleRenderer(
        event_key="message",
        timestamp_key="time",
        pad_event_to=0,
        exception_formatter=structlog.dev.plain_traceback,
    ),
)
