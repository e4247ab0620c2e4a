"""How the parts of a definition must fit together: every rule that its shape alone cannot tell.

Each rule is a function that yields problems; none stops another, so that a person sees all of them at once.
The rules are applied to the normalised definition. Pointers are those of the document as written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, islice
from typing import Any, TypeAlias

from saga.errors import Problem
from saga.language.check_calls import NO_CONDITION, Problems, check_calls, check_services, wrong
from saga.language.check_references import check_references, count_expressions
from saga.language.durations import parse_duration, parse_time
from saga.language.fields import KINDS
from saga.language.model import SagaDefinition, Step, Worker
from saga.language.pointers import is_pointer, pointer
from saga.language.shape import MAX_PROBLEMS
from saga.language.syntax import has_expression, is_one_expression
from saga.language.words import did_you_mean, shown

#: Most steps of one definition.
MAX_STEPS = 200
#: Most ``${…}`` of one definition.
MAX_EXPRESSIONS = 5_000
#: Kinds of step that change nothing outside, so that nothing is owed for them.
_OWES_NOTHING = ("wait", "signal", "fail")


def check(definition: SagaDefinition, services: frozenset[str] | None) -> tuple[Problem, ...]:
    """Return the problems of a normalised definition, warnings included, up to :data:`MAX_PROBLEMS`.

    ``services`` are the names a server's settings address; None when there is no server.
    """
    found = (problem for rule in _RULES for problem in rule(definition))
    return tuple(islice(chain(found, check_services(definition, services)), MAX_PROBLEMS))


def check_size(document: Mapping[str, Any]) -> tuple[Problem, ...]:
    """Return what makes a document too much to be checked in reasonable time."""
    steps = document.get("steps")
    count = len(steps) if isinstance(steps, list) else 0
    if count > MAX_STEPS:
        detail = f"a saga has at most {MAX_STEPS} steps, not {count}: use child sagas or for_each"
        return (wrong("/steps", detail),)
    expressions = count_expressions(document)
    if expressions > MAX_EXPRESSIONS:
        detail = f"a definition has at most {MAX_EXPRESSIONS:,} expressions, not {expressions:,}"
        return (wrong("", detail),)
    return ()


# the definition as a whole


def _check_input(definition: SagaDefinition) -> Problems:
    yield from _check_pointers(definition.sensitive, "/sensitive")
    if definition.input is not None:
        # Imported here because a definition without a schema should not have to load the validator.
        from saga.language.schemas import check_schema  # noqa: PLC0415

        yield from check_schema(definition.input, "/input")


def _check_pointers(pointers: tuple[str, ...], at: str) -> Problems:
    for position, text in enumerate(pointers):
        if not is_pointer(text):
            yield wrong(f"{at}/{position}", f"{shown(text)} is no JSON pointer: write one as in /card/number")


def _check_times(definition: SagaDefinition) -> Problems:
    for name in ("timeout", "due"):
        yield from _check_positive(getattr(definition, name), f"/{name}")
    for at, step in enumerate(definition.steps):
        yield from _check_positive(step.due, pointer("steps", at, "due"))
        if step.signal is not None:
            yield from _check_positive(step.signal.timeout, pointer("steps", at, "signal", "timeout"))
            yield from _check_condition(
                step.signal.refused_when, pointer("steps", at, "signal", "refused_when")
            )


def _check_positive(seconds: float | None, at: str) -> Problems:
    """Refuse a time for something to happen in that leaves none."""
    if seconds == 0:
        yield wrong(at, "must be longer than 0s")


def _check_labels(definition: SagaDefinition) -> Problems:
    for name, value in definition.labels.items():
        if not isinstance(value, str | int | float):
            detail = f"a label is text, a number or a boolean, or ${{…}} giving one, not {shown(value)}"
            yield wrong(pointer("labels", name), detail)


# steps by themselves


def _check_steps(definition: SagaDefinition) -> Problems:
    if not definition.steps:
        yield wrong("/steps", "a saga has at least one step: add one")
    for at, step in enumerate(definition.steps):
        yield from _check_step(step, pointer("steps", at))


def _check_step(step: Step, at: str) -> Problems:
    yield from _check_kinds(step, at)
    yield from _check_pointers(step.sensitive, f"{at}/sensitive")
    yield from _check_condition(step.when, f"{at}/when")
    if step.for_each is not None and not is_one_expression(step.for_each):
        detail = "must be one ${…} that gives an array, as in ${input.passengers}"
        yield wrong(f"{at}/for_each", f"{shown(step.for_each)} {detail}")
    if step.for_each is None and "max_parallel" in step.model_fields_set:
        yield wrong(f"{at}/max_parallel", "only a step with for_each has instances: remove it")
    if step.wait is not None and not _is_wait(step.wait):
        detail = "must be a duration (30m), a time (2026-03-01T09:30:00Z) or one ${…}"
        yield wrong(f"{at}/wait", f"{shown(step.wait)} {detail}")
    if step.fail is not None and not step.fail.strip():
        yield wrong(f"{at}/fail", f"{shown(step.fail)} says nothing: say why, for the person who reads it")


def _check_kinds(step: Step, at: str) -> Problems:
    if not step.kinds:
        yield wrong(at, f"step {step.name!r} does nothing: add one of {', '.join(KINDS)}")
    for kind in step.kinds[1:]:
        yield wrong(f"{at}/{kind}", f"a step is one thing: make two steps of {step.kinds[0]!r} and {kind!r}")


def _check_condition(condition: str | None, at: str) -> Problems:
    """Refuse a condition without an expression, which would always hold."""
    if condition is not None and not has_expression(condition):
        yield wrong(at, f"{shown(condition)} {NO_CONDITION}")


def _is_wait(text: str) -> bool:
    if "${" in text:
        return is_one_expression(text)
    return _is_read_by(parse_duration, text) or _is_read_by(parse_time, text)


def _is_read_by(read: Callable[[str], float], text: str) -> bool:
    try:
        read(text)
    except ValueError:
        return False
    return True


# order, pivot, undoing


def _check_order(definition: SagaDefinition) -> Problems:
    counts = Counter(step.name for step in definition.steps)
    seen: set[str] = set()
    for at, step in enumerate(definition.steps):
        if step.name in seen:
            detail = f"{counts[step.name]} steps are named {step.name!r}: rename all but one"
            yield wrong(pointer("steps", at, "name"), detail)
        seen.add(step.name)
        for name in step.after:
            if name not in definition.graph:
                detail = f"there is no step {name!r} to wait for{did_you_mean(name, definition.graph.order)}"
                yield wrong(pointer("steps", at, "after"), detail)
    if cycle := definition.graph.cycle:
        at = next(at for at, step in enumerate(definition.steps) if step.name == cycle[0])
        circle = " after ".join([*cycle, cycle[0]])
        yield wrong(
            pointer("steps", at, "after"), f"these steps wait for one another: {circle}; break the circle"
        )


def _check_pivot(definition: SagaDefinition) -> Problems:
    pivots = [(at, step) for at, step in enumerate(definition.steps) if step.pivot]
    for at, step in pivots:
        yield from _check_pivot_step(step, pointer("steps", at, "pivot"))
    for at, step in pivots[1:]:
        yield wrong(
            pointer("steps", at, "pivot"),
            f"a saga has one pivot, and {pivots[0][1].name!r} is it: {step.name!r} cannot be one too",
        )
    if len(pivots) == 1 and definition.graph.cycle is None:
        yield from _check_beside_pivot(definition, pivots[0][1].name)


def _check_pivot_step(step: Step, at: str) -> Problems:
    if step.kind in _OWES_NOTHING:
        yield wrong(at, f"a {step.kind!r} changes nothing outside and cannot be the pivot: mark an action")
    if step.for_each is not None:
        yield wrong(at, "a step with for_each cannot be the pivot: half of its instances may succeed")
    if step.on_refused == "continue":
        yield wrong(at, "a pivot decides which way the saga goes: remove 'on_refused: continue'")


def _check_beside_pivot(definition: SagaDefinition, pivot: str) -> Problems:
    placed = definition.graph.upstream(pivot) | definition.graph.downstream(pivot) | {pivot}
    for at, step in enumerate(definition.steps):
        if step.name not in placed:
            yield wrong(
                pointer("steps", at),
                f"step {step.name!r} runs beside the pivot {pivot!r}: add it to the pivot's 'after',"
                f" or {pivot!r} to its own",
            )


def _check_undoing(definition: SagaDefinition) -> Problems:
    # On or below a cycle nobody can say what stands before the pivot.
    certain = definition.pivot is None or definition.graph.cycle is None
    for at, step in enumerate(definition.steps):
        if step.kinds:
            passed = definition.position(step.name) == "after"
            yield from _check_undoing_of(step, pointer("steps", at), certain=certain, passed=passed)


def _check_undoing_of(step: Step, at: str, *, certain: bool, passed: bool) -> Problems:
    given = step.compensation is not None and step.compensation != "none"
    if given and step.kind in _OWES_NOTHING:
        yield wrong(f"{at}/compensation", f"a {step.kind!r} changes nothing outside: remove it")
    elif given and step.kind == "saga":
        yield wrong(f"{at}/compensation", "a child saga undoes itself: remove it, or write none")
    elif given and certain and passed:
        yield wrong(f"{at}/compensation", "past the pivot nothing is undone: remove it")
    elif step.compensation is None and step.kind in ("action", "worker") and certain and not passed:
        detail = f"step {step.name!r} must say how it is undone: add a compensation, or 'compensation: none'"
        yield wrong(at, detail)


_RULES: tuple[Callable[[SagaDefinition], Problems], ...] = (
    _check_input,
    _check_times,
    _check_labels,
    _check_steps,
    _check_order,
    _check_pivot,
    _check_undoing,
    check_calls,
    check_references,
)

# beyond one definition

#: Finds a definition by name and version (None: the latest); None when there is none.
Lookup: TypeAlias = Callable[[str, int | None], SagaDefinition | None]


def check_children(definition: SagaDefinition, lookup: Lookup) -> tuple[Problem, ...]:
    """Return what is wrong with the child sagas of a definition, given the other definitions."""
    return tuple(
        problem
        for at, step in enumerate(definition.steps)
        if step.saga is not None
        for problem in _check_child(definition, step, pointer("steps", at, "saga"), lookup)
    )


def _check_child(definition: SagaDefinition, step: Step, at: str, lookup: Lookup) -> Problems:
    if step.saga is None:
        return
    child = lookup(step.saga.name, step.saga.version)
    if child is None:
        version = "" if step.saga.version is None else f" in version {step.saga.version}"
        yield wrong(at, f"there is no definition {step.saga.name!r}{version}: store it first")
    elif child.pivot is not None and definition.position(step.name) == "before":
        yield wrong(
            at,
            f"the child {child.name!r} has a pivot, {child.pivot!r}, after which it cannot be undone: let the"
            " step be the pivot, or stand after it",
        )


def not_yet_executed(definition: SagaDefinition) -> tuple[Problem, ...]:
    """Return what a definition asks for that this release understands but does not execute yet."""
    return tuple(
        wrong(pointer("steps", at, field), f"{field!r} is not executed yet by this release")
        for at, step in enumerate(definition.steps)
        for field in _beyond_release(step)
    )


def _beyond_release(step: Step) -> Iterator[str]:
    yield from (kind for kind in step.kinds if kind != "action")
    if step.for_each is not None:
        yield "for_each"
    if isinstance(step.compensation, Worker):
        yield "compensation"
