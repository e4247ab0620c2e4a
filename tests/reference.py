"""The reference pages of the documentation, made from the code; ``python -m tests.generated`` writes them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from typing import Any, NamedTuple

import click

from saga.api.problem_types import PROBLEM_TYPES
from saga.cli import COMMANDS, saga
from saga.core.entries import KINDS, Entry
from saga.language import model
from saga.language.durations import format_duration

_FIELD = re.compile(r"    (?P<name>[a-z_]+): (?P<type>.+?)(?: = (?P<default>.+))?$")
_PARTS = (
    model.SagaDefinition,
    model.Step,
    model.Call,
    model.Retry,
    model.Pending,
    model.Service,
    model.Defaults,
    model.CallDefaults,
    model.Worker,
    model.Signal,
    model.ChildSaga,
)
_WHAT = {"SagaDefinition": "Definition", "Call": "Action and compensation", "ChildSaga": "Saga (a child)"}

_DEFINITIONS = """\
# Definitions: every field

Made from `saga/language/model.py`. YAML or JSON; what is unknown is refused, all problems at once.
Durations are text: `250ms`, `5s`, `10m`, `24h`, `7d`. Text may hold `${…}`, a JMESPath expression over
`input`, `steps.NAME.output`, `saga.id`, `saga.started_at`, `key`, and `response` where there is one.
No default means: not set.
"""
_JOURNAL = """\
# The journal: every kind of entry

Made from `saga/core/entries`. `GET /v1/sagas/{id}/journal` lists them, each as `{seq, at, kind, …}`, times as
RFC 3339. The fields of an entry only grow from release to release.
"""
_PROBLEMS = """\
# Problems: every type

Made from `saga/api/problem_types.py`. Errors are `application/problem+json` (RFC 9457). `type` is the word programs
look at; `errors` has every problem of a document at fault, each with a JSON pointer.
"""
_COMMAND_LINE = """\
# Command line

Made from `saga/cli`. Exit codes: 0 yes; 1 the saga was compensated, abandoned or parked, or a command does not fit
it; 2 usage, or a document at fault; 3 the server cannot be reached.
"""


class _Said(NamedTuple):
    """A field as its class's source has it."""

    name: str
    type: str
    default: str
    #: The comment above it.
    says: str


def _said(cls: type) -> Iterator[_Said]:
    """Yield the fields a class defines itself, with what the comments above them say."""
    says: list[str] = []
    for line in inspect.getsource(cls).splitlines():
        if line.startswith("    #: "):
            says.append(line[7:])
        elif (found := _FIELD.match(line)) and "ClassVar" not in line:
            yield _Said(found["name"], found["type"], found["default"] or "", " ".join(says))
            says = []
        elif line.strip():
            says = []


def _cell(text: str) -> str:
    return re.sub(r":\w+:`~?([^`]*)`", r"`\1`", text).replace("``", "`").replace("|", "\\|")


def _first_sentence(cls: type) -> str:
    return " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())


def definitions() -> str:
    """Return every field of a definition, as a page."""
    lines = [_DEFINITIONS]
    for part in _PARTS:
        lines += [f"## {_WHAT.get(part.__name__, part.__name__)}", "", _cell(_first_sentence(part)), ""]
        lines += ["| field | type | default | |", "|---|---|---|---|"]
        lines += [*(_definition_row(said, part) for said in _said(part)), ""]
    return "\n".join(lines).rstrip() + "\n"


def _definition_row(said: _Said, part: Any) -> str:
    field = part.model_fields[said.name]
    default = (
        "required"
        if field.is_required()
        else _default(field.get_default(call_default_factory=True), duration="Duration" in said.type)
    )
    return (
        f"| `{said.name}` | {_type(said)} | {default} | {_cell(re.sub(r'; see :attr:.*', '.', said.says))} |"
    )


def _default(value: Any, *, duration: bool) -> str:
    if value is None or value in ((), "") or value == {}:
        return ""
    if isinstance(value, model.Part):
        return "as below"
    if isinstance(value, float) and duration:
        return f"`{format_duration(value)}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _type(said: _Said) -> str:
    shown = re.sub(r"^Annotated\[(\w+), .*\]$", r"\1", said.type.removesuffix(" | None"))
    words = {
        "str": "text", "bool": "boolean", "int": "number", "Name": "name", "Duration": "duration",
        "Unlimited": "duration or `unlimited`", "Attempts": "number or `unlimited`", "Factor": "number",
        "Method": "method", "Any": "JSON", "Verdicts": "status → verdict", "tuple[str, ...]": "texts",
        "tuple[Step, ...]": "steps", "dict[str, Any]": "object", "dict[str, str]": "name → text",
        "dict[Name, Any]": "name → JSON", "dict[Name, Service]": "name → service",
        "ChildSaga": "saga", "CallDefaults": "call defaults", "AnyCompensation": "a call, `{worker: …}` or `none`",
    }  # fmt: skip
    if shown.startswith("Literal["):
        return " or ".join(f"`{each.strip()[1:-1]}`" for each in shown[8:-1].split(","))
    return words.get(shown, shown.lower())


def journal() -> str:
    """Return every kind of entry, as a page."""
    lines = [_JOURNAL]
    for kind, entry in KINDS.items():
        lines += [f"## `{kind}`", "", _cell(_first_sentence(entry)), ""]
        lines += [f"- `{said.name}`{': ' + _cell(said.says) if said.says else ''}" for said in _entry(entry)]
        lines += [""]
    return "\n".join(lines).rstrip() + "\n"


def _entry(entry: type[Entry]) -> Iterator[_Said]:
    known = {said.name: said for cls in reversed(entry.__mro__[:-1]) for said in _said(cls)}
    return (known[field.name] for field in fields(entry) if field.name != "at")


def problems() -> str:
    """Return every type of problem, as a page."""
    lines = [_PROBLEMS, "| status | `type` | |", "|---|---|---|"]
    rows = [
        f"| {problem.status} | `{kind}` | {_cell(problem.says)} |" for kind, problem in PROBLEM_TYPES.items()
    ]
    return "\n".join([*lines, *rows]) + "\n"


def command_line() -> str:
    """Return every command and option, as a page."""
    lines = [_COMMAND_LINE]
    root = click.Context(saga, info_name="saga")
    for heading, commands in COMMANDS.items():
        lines += [f"## {heading}", ""]
        for name in commands:
            lines += _command(root, name)
    return "\n".join(lines).rstrip() + "\n"


def _command(root: click.Context, name: str) -> Iterator[str]:
    command = saga.get_command(root, name)
    if command is None:
        raise LookupError(name)
    context = click.Context(command, info_name=name, parent=root, terminal_width=100, max_content_width=100)
    yield from (f"### `saga {name}`", "", "```text", command.get_help(context).strip(), "```", "")


PAGES: Mapping[str, Callable[[], str]] = {
    "definitions": definitions,
    "journal": journal,
    "problems": problems,
    "command-line": command_line,
}
