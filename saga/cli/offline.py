"""Commands that ask no server: ``validate``, ``simulate``, ``graph``."""

from __future__ import annotations

import atexit
import gc
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from saga.cli import output
from saga.cli.failures import Exit, Failure, end, place
from saga.cli.options import json_option

if TYPE_CHECKING:
    from saga.cli.files import Checked
    from saga.core.simulate import Sent, Simulation
    from saga.errors import Problem
    from saga.language.model import SagaDefinition


#: What pydantic calls the setting that keeps it from looking through every installed package for plug-ins.
_PLUG_INS = "PYDANTIC_DISABLE_PLUGINS"
# The interpreter looks through all there is for garbage before it ends; what is frozen it passes over.
atexit.register(gc.freeze)


@contextmanager
def _brief() -> Iterator[None]:
    """Leave out, within a command that ends at once, what pays only in a process that stays."""
    collects, plug_ins = gc.isenabled(), os.environ.get(_PLUG_INS)
    gc.disable()
    os.environ.setdefault(_PLUG_INS, "__all__")
    try:
        yield
    finally:
        if collects:
            gc.enable()
        if plug_ins is None:
            del os.environ[_PLUG_INS]


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@json_option
@_brief()
def validate(*, files: Sequence[str], as_json: bool) -> None:
    """Check definitions, every problem at once.

    Each problem is shown with its file and line, and how to mend it. Exit code 2 when one is refused;
    warnings refuse nothing.
    """
    from saga.cli.files import check

    found = [check(path) for path in files]
    if as_json:
        output.document({"files": [_checked_json(each) for each in found]})
    else:
        for each in found:
            _print_checked(each)
    if any(each.definition is None for each in found):
        end(Exit.USAGE)


def _print_checked(checked: Checked) -> None:
    for problem in checked.problems:
        output.line(place(checked.path, problem), "red" if problem.severity == "error" else "yellow")
    if checked.definition is None:
        errors = sum(problem.severity == "error" for problem in checked.problems)
        output.line(f"{checked.path}: refused, {errors} error{'s' if errors != 1 else ''}", "red")
    else:
        steps = len(checked.definition.steps)
        output.line(f"{checked.path}: valid, {checked.definition.name}, {steps} steps", "green")


def _checked_json(checked: Checked) -> Mapping[str, Any]:
    name = None if checked.definition is None else checked.definition.name
    problems = [_problem_json(problem) for problem in checked.problems]
    return {"file": checked.path, "valid": checked.definition is not None, "name": name, "problems": problems}


def _problem_json(problem: Problem) -> Mapping[str, Any]:
    return {
        "pointer": problem.pointer,
        "detail": problem.detail,
        "line": problem.line,
        "severity": problem.severity,
    }


@click.command()
@click.argument("file", metavar="FILE")
@_brief()
def graph(file: str) -> None:
    """Draw a definition in mermaid: steps, pivot and compensations."""
    from saga.cli.files import definition
    from saga.core.graphs import flowchart

    click.echo(flowchart(definition(file)), nl=False)


@click.command()
@click.argument("file", metavar="FILE")
@click.option("--fail", metavar="STEP", help="Only for this step; without it for none and for each in turn.")
@click.option("--uncertain", is_flag=True, help="It stays in doubt, in place of being refused.")
@json_option
@_brief()
def simulate(*, file: str, fail: str | None, uncertain: bool, as_json: bool) -> None:
    """Show what is sent, and what is undone, when a step fails.

    Decided by what decides in the coordinator, without a network; every other step succeeds, and every 'when'
    holds. What stands on one line is sent together: actions behind →, compensations behind ←.
    """
    from saga.cli.files import definition
    from saga.errors import SagaError

    found = definition(file)
    try:
        simulations = [_simulated(found, name, uncertain=uncertain) for name in _failing(found, fail)]
    except SagaError as error:
        raise Failure(str(error)) from None
    if as_json:
        output.document({"definition": found.name, "simulations": [asdict(each) for each in simulations]})
    else:
        for each in simulations:
            _print_simulation(each)


def _simulated(definition: SagaDefinition, fail: str | None, *, uncertain: bool) -> Simulation:
    from saga.core.simulate import simulate as play

    return play(definition, fail, uncertain=uncertain and fail is not None)


def _failing(definition: SagaDefinition, fail: str | None) -> list[str | None]:
    """Return which steps fail in turn: none, and each that can; or the one that is named."""
    if fail is not None:
        return [fail]
    return [None, *(step.name for step in definition.steps if step.kind != "wait")]


def _print_simulation(simulation: Simulation) -> None:
    how = "stays in doubt" if simulation.uncertain else "is refused"
    when = f"{simulation.failed} {how}" if simulation.failed is not None else "nothing fails"
    output.line(f"{when}: {simulation.status}", output.COLOURS.get(simulation.status))
    for wave in simulation.waves:
        output.line("  " + "  ".join(_sent(wave)))


def _sent(wave: Sequence[Sent]) -> Iterator[str]:
    for phase, mark in (("action", "→"), ("compensation", "←")):
        steps = ", ".join(sent.step for sent in wave if sent.phase == phase)
        if steps:
            yield f"{mark} {steps}"


commands: Mapping[str, click.Command] = {"validate": validate, "simulate": simulate, "graph": graph}
