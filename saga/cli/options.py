"""Options that several commands have, and how what they are given becomes JSON."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from saga.cli.failures import Failure

if TYPE_CHECKING:
    from saga.cli.http import Api

DEFAULT_SERVER = "http://127.0.0.1:7242"
#: Digits of a number from which on it is an account or a card, and stays text.
_LONG = 15

_P = ParamSpec("_P")
_R = TypeVar("_R")


def json_option(command: Callable[_P, _R]) -> Callable[_P, _R]:
    """Give a command ``--json``, as ``as_json``; errors are JSON as well then."""
    return click.option(
        "--json", "as_json", is_flag=True, callback=_note_json, help="Print JSON, errors as well."
    )(command)


def _note_json(ctx: click.Context, _param: click.Parameter, value: bool) -> bool:
    ctx.meta["json"] = value
    return value


def wants_json(ctx: click.Context) -> bool:
    """Return whether the command was asked for JSON."""
    return bool(ctx.meta.get("json"))


def server(command: Callable[..., _R]) -> Callable[..., _R]:
    """Give a command ``--server`` and ``--json``, and as its first argument the API of that server."""

    @click.option(
        "--server",
        envvar="SAGA_URL",
        default=DEFAULT_SERVER,
        show_default=True,
        show_envvar=True,
        metavar="URL",
        help="Address of the coordinator; the token is taken from SAGA_TOKEN.",
    )
    @json_option
    @functools.wraps(command)
    def with_api(server: str, **arguments: Any) -> _R:
        return command(connect(server), **arguments)

    return with_api


def connect(server: str) -> Api:
    """Return the API of a server, with the token of the environment."""
    from saga.cli.http import Api

    return Api(server, os.environ.get("SAGA_TOKEN"))


def following(command: Callable[_P, _R]) -> Callable[_P, _R]:
    """Give a command ``--wait`` and ``--watch``, as ``wait`` and ``watching``."""
    waiting = click.option("--wait", is_flag=True, help="Wait until it has ended or is parked.")(command)
    return click.option("--watch", "watching", is_flag=True, help="The same, and show what happens.")(waiting)


def payload_options(what: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Give a command ``-i FILE`` and ``-f key=value``, as ``input_file`` and ``fields``."""

    def decorate(command: Callable[_P, _R]) -> Callable[_P, _R]:
        with_fields = click.option(
            "-f",
            "--field",
            "fields",
            multiple=True,
            metavar="KEY=VALUE",
            help=f"One member of the {what}; dots go deeper, JSON is read as JSON, long numbers stay text.",
        )(command)
        option = click.option(
            "-i",
            "--input",
            "input_file",
            metavar="FILE",
            help=f"The {what}, as YAML or JSON; - is standard input.",
        )
        return option(with_fields)

    return decorate


def payload(input_file: str | None, fields: Iterable[str]) -> Any:
    """Return what the options give, the fields laid over the file; None when there are neither."""
    from saga.cli.files import read_value

    value = read_value(input_file) if input_file is not None else None
    for field in fields:
        value = _with_field({} if value is None else value, field)
    return value


def _with_field(value: Any, field: str) -> Any:
    path, equals, text = field.partition("=")
    names = path.split(".")
    if not equals or not all(names):
        raise Failure(f"-f {field!r} is no field: write it as key=value, or key.member=value")
    holder = value
    for name in names[:-1]:
        holder = holder.setdefault(name, {}) if isinstance(holder, dict) else None
    if not isinstance(holder, dict):
        raise Failure(f"-f {field!r}: what it goes into is no object")
    holder[names[-1]] = read_text(text)
    return value


def read_text(text: str) -> Any:
    """Return what a person typed: JSON where it is JSON, else the text; also a number too long to be counted with.

    >>> read_text("420"), read_text("LH400"), read_text("4242424242424242"), read_text('{"a": true}')
    (420, 'LH400', '4242424242424242', {'a': True})
    """
    if text.lstrip("-").isdigit() and len(text.lstrip("-")) > _LONG:
        return text
    try:
        return json.loads(text, parse_constant=_no_constant)
    except ValueError:
        return text


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def read_labels(labels: Iterable[str]) -> Mapping[str, str | int | float | bool] | None:
    """Return labels given as ``name=value``; None when there are none."""
    return dict(map(_label, labels)) or None


def _label(label: str) -> tuple[str, str | int | float | bool]:
    """Return name and value: a number or a boolean where one was typed, else the text as it stands."""
    name, equals, text = label.partition("=")
    if not equals or not name:
        raise Failure(f"--label {label!r} is no label: write it as name=value")
    value = read_text(text)
    return name, value if isinstance(value, int | float) else text


def segment(text: str) -> str:
    """Return text as one segment of a path."""
    from urllib.parse import quote

    if not text.strip("."):
        raise Failure(f"{text!r} is no name or id")
    return quote(text, safe="")


def read_file(path: str) -> bytes:
    """Return what a file holds; ``-`` is standard input."""
    try:
        return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise Failure(f"{path}: {error.strerror or error}") from None
