"""Hiding what a definition calls sensitive, wherever it is shown. Pure.

A pointer names where a value stands in the input or in a step's output. From there it may have got elsewhere: a
label or an output was filled with it, a participant gave it back, or named it in an error. So the texts that stand
at the pointers are hidden wherever else they turn up, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import quote

from pydantic_core import to_json

from saga.core.state import SagaState, step_name
from saga.language.model import SagaDefinition, Step
from saga.language.pointers import is_position, keys, value_at

MASK: Final = "•••"

#: Characters from which a text is hidden wherever it turns up: shorter ones are part of anything.
SHORTEST: Final = 4


def masked(value: Any, pointers: Iterable[str]) -> Any:
    """Return the value with what the JSON pointers (RFC 6901) name replaced by a mask; a copy where needed."""
    for pointer in pointers:
        value = _masked(value, keys(pointer))
    return value


def _masked(value: Any, parts: list[str]) -> Any:
    if not parts:
        return MASK
    head, rest = parts[0], parts[1:]
    if isinstance(value, dict) and head in value:
        return {**value, head: _masked(value[head], rest)}
    if isinstance(value, list) and is_position(head, value):
        return [_masked(item, rest) if index == int(head) else item for index, item in enumerate(value)]
    return value


def sensitive_in(step: Step, instances: int | None) -> Iterable[str]:
    """Return the pointers into a step's output; into the array of its instances' when there are so many."""
    if instances is None:
        return step.sensitive
    return [f"/{index}{pointer}" for index in range(instances) for pointer in step.sensitive]


class Veil:
    """Hides the sensitive texts of one saga in values that no pointer names."""

    def __init__(self, texts: Iterable[str]) -> None:
        # The longest first: one may be part of another.
        self._texts = sorted({text for text in texts if len(text) >= SHORTEST}, key=len, reverse=True)

    def over(self, value: Any) -> Any:
        """Return the value with sensitive texts hidden; the same when there are none."""
        return self._hidden(value) if self._texts and value is not None else value

    def _hidden(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, dict):
            return {name: self._hidden(member) for name, member in value.items()}
        if isinstance(value, list):
            return [self._hidden(item) for item in value]
        if type(value) in (int, float) and _number(value) in self._texts:
            return MASK
        return value

    def _text(self, shown: str) -> str:
        for text in self._texts:
            if shown == text:
                return MASK
            shown = shown.replace(text, MASK)
        return shown


_NOTHING: Final = Veil(())


def veil(definition: SagaDefinition, state: SagaState) -> Veil:
    """Return what hides the texts that stand at the sensitive pointers of a saga."""
    if not definition.conceals:
        return _NOTHING
    return Veil(_texts_of(definition, state))


def _texts_of(definition: SagaDefinition, state: SagaState) -> Iterator[str]:
    for pointer in definition.sensitive:
        yield from _texts(value_at(state.input, keys(pointer)))
    for unit in state.steps.values():
        for pointer in sensitive_in(definition.step(step_name(unit.name)), unit.count):
            yield from _texts(value_at(unit.output, keys(pointer)))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
        # In an address it stands percent-encoded.
        yield quote(value, safe="")
    elif type(value) in (int, float):
        yield _number(value)
    elif isinstance(value, dict):
        for member in value.values():
            yield from _texts(member)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _number(value: float) -> str:
    return to_json(value).decode()
