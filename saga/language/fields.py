"""The kinds of values that definitions are made of: names, durations, numbers of attempts.

Durations are ``float`` seconds, and text such as ``10m`` in a document.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    StringConstraints,
    ValidationInfo,
    model_serializer,
)

from saga.language.durations import DURATION, checked_duration, format_duration, parse_duration
from saga.language.words import shown

#: Names of definitions, steps, services, signals, labels and secrets.
NAME = r"^[a-z][a-z0-9_]{0,63}$"
Name: TypeAlias = Annotated[str, StringConstraints(pattern=NAME)]

Kind: TypeAlias = Literal["action", "wait", "signal", "saga", "worker", "fail"]
#: Every kind of step, in the order they are looked for.
KINDS: tuple[Kind, ...] = ("action", "wait", "signal", "saga", "worker", "fail")

#: Which of a step's two calls.
Phase: TypeAlias = Literal["action", "compensation"]
#: Where a step stands to the pivot.
Position: TypeAlias = Literal["before", "pivot", "after"]
Verdict: TypeAlias = Literal["succeeded", "refused", "retry", "uncertain", "pending"]

#: Validation context of a value that was read from a document, not made in Python.
DOCUMENT: Mapping[str, bool] = MappingProxyType({"document": True})


def _duration(value: Any, info: ValidationInfo) -> Any:
    """Take text; made in Python also seconds or a ``timedelta``."""
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float):
        # No TypeError: pydantic lets that one through.
        raise ValueError(f"{shown(value)} is no duration: write one as in 250ms, 5s or 24h")  # noqa: TRY004
    if info.context:
        raise ValueError(
            f"{shown(value)} has no unit, and a duration is text with one: did you mean {value}s?"
        )
    return checked_duration(value)


def _unlimited(value: Any) -> Any:
    return None if value == "unlimited" else value


#: What a document may say where values are made of text; for JSON Schemas only.
_Written: TypeAlias = Annotated[str, StringConstraints(pattern=f"^{DURATION}$")]
_Endless: TypeAlias = Literal["unlimited"]

Duration: TypeAlias = Annotated[
    float, BeforeValidator(_duration, json_schema_input_type=_Written), PlainSerializer(format_duration)
]
#: A duration, or None for one that never ends, which is ``unlimited`` in a document.
Unlimited: TypeAlias = Annotated[
    float | None,
    BeforeValidator(
        lambda value, info: None if _unlimited(value) is None else _duration(value, info),
        json_schema_input_type=_Written | _Endless | None,
    ),
    PlainSerializer(lambda value: "unlimited" if value is None else format_duration(value)),
]
Attempts: TypeAlias = Annotated[
    int | None,
    Field(strict=True, ge=1, le=1_000_000),
    BeforeValidator(
        _unlimited,
        json_schema_input_type=Annotated[int, Field(ge=1, le=1_000_000)] | _Endless | None,
    ),
    PlainSerializer(lambda value: "unlimited" if value is None else value),
]
#: Whole numbers are written without a fraction.
Factor: TypeAlias = Annotated[
    float,
    Field(strict=True, ge=1, le=100),
    PlainSerializer(lambda value: int(value) if value.is_integer() else value),
]


def _method(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _statuses(value: Any) -> Any:
    """YAML reads 404 as a number; a class may be written in capitals."""
    if not isinstance(value, dict):
        return value
    return {
        (str(key).lower() if isinstance(key, str | int) and not isinstance(key, bool) else key): verdict
        for key, verdict in value.items()
    }


Method: TypeAlias = Annotated[
    Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"], BeforeValidator(_method)
]
Verdicts: TypeAlias = Annotated[dict[str, Verdict], BeforeValidator(_statuses)]


class Part(BaseModel):
    """One part of a definition: frozen, and without fields nobody knows."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    #: Fields in which a null is a value, and not the same as leaving the field out.
    nullable: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_nulls(self, handler: SerializerFunctionWrapHandler, _info: SerializationInfo) -> Any:
        written = handler(self)
        return {name: value for name, value in written.items() if value is not None or name in self.nullable}
