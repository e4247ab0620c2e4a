"""Reading the files a command is given: definitions and inputs, with the line of each problem."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from saga.cli.failures import Exit, Failure, place
from saga.cli.options import read_file
from saga.errors import DefinitionInvalid, InputInvalid, Problem
from saga.language.documents import Lines, read_document

if TYPE_CHECKING:
    from saga.language.model import SagaDefinition


@dataclass(frozen=True, slots=True)
class Source:
    """A document as it was read."""

    path: str
    text: bytes
    value: Any
    lines: Lines

    @property
    def content_type(self) -> str:
        """How it is sent."""
        return "application/yaml" if _is_yaml(self.path) else "application/json"


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of checking a definition."""

    path: str
    #: None when it is refused.
    definition: SagaDefinition | None
    problems: tuple[Problem, ...]


def _is_yaml(path: str) -> bool:
    # JSON is YAML, but for escapes nobody needs; what is not said to be JSON is read as YAML.
    return not path.lower().endswith(".json")


def read_source(path: str, error: type[DefinitionInvalid | InputInvalid] = DefinitionInvalid) -> Source:
    """Return the document in a file.

    Raises:
        DefinitionInvalid: the text is no document; or ``error``, if given.
    """
    text = read_file(path)
    value, lines = read_document(text, yaml=_is_yaml(path), error=error)
    return Source(path, text, value, lines)


def read_value(path: str) -> Any:
    """Return the JSON value in a file of input."""
    try:
        return read_source(path, InputInvalid).value
    except InputInvalid as invalid:
        raise refusal(path, invalid.problems) from None


def check(path: str) -> Checked:
    """Check the definition in a file without a server, as a server would."""
    from saga.definition import parse_definition
    from saga.language.checks import not_yet_executed

    try:
        source = read_source(path)
        parsed = parse_definition(source.value, lines=source.lines)
    except DefinitionInvalid as invalid:
        return Checked(path, None, invalid.problems)
    except Failure as failure:
        # It cannot be read; the other files can be checked all the same.
        return Checked(path, None, (Problem(pointer="", detail=failure.message.removeprefix(f"{path}: ")),))
    beyond = tuple(_located(each, source.lines) for each in not_yet_executed(parsed.definition))
    return Checked(path, None if beyond else parsed.definition, parsed.warnings + beyond)


def _located(problem: Problem, lines: Lines) -> Problem:
    return Problem(pointer=problem.pointer, detail=problem.detail, line=lines.get(problem.pointer))


def definition(path: str) -> SagaDefinition:
    """Return the definition in a file, which must be one."""
    checked = check(path)
    if checked.definition is None:
        raise refusal(path, checked.problems)
    return checked.definition


def refusal(path: str, problems: Iterable[Problem]) -> Failure:
    """Return the failure that tells what is wrong with a file."""
    return Failure(f"{path} is refused:", Exit.USAGE, [place(path, problem) for problem in problems])
