"""The front of the definition language: the one way a document becomes a definition.

:func:`parse_definition` finds every problem of a document at once. What it returns is normalised; nothing
else is ever executed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from saga.errors import DefinitionInvalid, Problem
from saga.language.check_calls import check_targets
from saga.language.checks import check, check_size
from saga.language.documents import check_json
from saga.language.model import SagaDefinition
from saga.language.origins import origin
from saga.language.pointers import parent
from saga.language.shape import Shape, read_shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A definition that may be stored and executed."""

    #: Normalised: every default is written out.
    definition: SagaDefinition
    #: What may be meant so, but probably is not.
    warnings: tuple[Problem, ...]


def parse_definition(
    document: object,
    *,
    lines: Mapping[str, int] | None = None,
    services: frozenset[str] | None = None,
) -> Parsed:
    """Check a definition whole, and normalise it.

    Args:
        document: a JSON value, or a :class:`~saga.language.model.SagaDefinition` made in Python.
        lines: the line of each JSON pointer, when the document was read from text.
        services: names of services the server's settings address; None when there is no server to ask, and
            a service that the document does not address is then only a warning.

    Raises:
        DefinitionInvalid: with every problem that was found, each where it stands.
    """
    if isinstance(document, SagaDefinition):
        document = document.model_dump(mode="json", exclude_unset=True)
    problems, definition = _checked(document, services)
    placed = sorted((_placed(each, lines or {}) for each in problems), key=lambda each: each.line or 0)
    if definition is None or any(problem.severity == "error" for problem in placed):
        raise DefinitionInvalid(tuple(placed))
    return Parsed(definition=definition, warnings=tuple(placed))


def load_definition(document: object) -> SagaDefinition:
    """Return a definition from its normalised document, as it was stored, without checking how it fits.

    What an earlier release accepted has to run on, also where a later one would refuse it.

    Raises:
        DefinitionInvalid: the document has not even the shape of a definition this release knows.
    """
    if not isinstance(document, dict):
        raise DefinitionInvalid((_NO_MAPPING,))
    shape = read_shape(document)
    if shape.problems or shape.definition is None:
        raise DefinitionInvalid(shape.problems)
    return shape.definition


_NO_MAPPING = Problem(pointer="", detail="a definition is a mapping of names to values")


def _checked(
    document: object, services: frozenset[str] | None
) -> tuple[tuple[Problem, ...], SagaDefinition | None]:
    """Return every problem, and the normalised definition as far as it could be read."""
    problems = check_json(document)
    if problems:
        return problems, None
    if not isinstance(document, dict):
        return (_NO_MAPPING,), None
    if problems := check_size(document):
        return problems, None
    shape = read_shape(document)
    if shape.definition is None:
        return shape.problems, None
    definition = shape.definition.normalised()
    found = (*check_targets(shape.definition), *check(definition, services))
    certain = _without_consequences(shape, found, document)
    told = [replace(each, pointer=origin(each.pointer, document, definition)) for each in certain]
    return (*shape.problems, *dict.fromkeys(told)), definition


def _without_consequences(
    shape: Shape, found: tuple[Problem, ...], document: Mapping[str, object]
) -> tuple[Problem, ...]:
    """Leave out the problems that only follow from a wrong member."""
    misnamed = shape.misnamed(document)
    return tuple(
        problem
        for problem in found
        if not shape.covers(problem.pointer) and not any(repr(name) in problem.detail for name in misnamed)
    )


def _placed(problem: Problem, lines: Mapping[str, int]) -> Problem:
    """Return the problem with its line: that of the innermost part of the document around it."""
    if problem.line is not None:
        return problem
    at = problem.pointer
    while at not in lines:
        if not at:
            return problem
        at = parent(at)
    return replace(problem, line=lines[at])
