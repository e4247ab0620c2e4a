"""What expressions may refer to, and where: every ``${…}`` of a definition is looked at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from saga.errors import Problem
from saga.language.expressions import ExpressionInvalid, Reference, references
from saga.language.model import Call, SagaDefinition, Step, Worker
from saga.language.pointers import escape, pointer
from saga.language.words import closest, did_you_mean

Problems: TypeAlias = Iterator[Problem]

#: Where each root that is not known everywhere may be used, for a person.
_PLACES: Mapping[str, str] = {
    "response": "'response' is known only in a step's 'output' and in 'refused_when'",
    "secret": "'secret' may be used only in headers, so that it is never stored or shown",
    "item": "'item' is known only inside a step with for_each, and not in its 'when'",
    "index": "'index' is known only inside a step with for_each, and not in its 'when'",
    "key": "'key' is known only inside a step: in its action, its compensation and its output",
    "steps": "'steps' is not known here: labels are set before any step runs",
}
_ROOTS = ("input", "steps", "saga", "item", "index", "key", "response", "secret")
#: The members of the roots that have a fixed set of them.
_MEMBERS: Mapping[str, tuple[str, ...]] = {
    "saga": ("id", "started_at"),
    "response": ("status", "headers", "body"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """What is known where a template stands."""

    roots: frozenset[str]
    #: Steps whose outputs are there: those that have settled before.
    settled: frozenset[str]
    #: The step the template belongs to; None for labels and the saga's output.
    step: Step | None = None
    #: The step's own output is there, unless its action's answer never came: in its compensation.
    own: bool = False

    def also(self, *roots: str) -> _Place:
        return replace(self, roots=self.roots | set(roots))


def check_references(definition: SagaDefinition) -> Problems:
    """Check every expression of a definition: that it can be parsed, and what it refers to."""
    for at, template, place in _templates(definition):
        for leaf, text in _leaves(template, at):
            yield from _check_text(text, leaf, place, definition)


# where templates stand


def _templates(definition: SagaDefinition) -> Iterator[tuple[str, Any, _Place]]:
    start = _Place(roots=frozenset({"input", "saga"}), settled=frozenset())
    yield "/labels", definition.labels, start
    for at, step in enumerate(definition.steps):
        yield from _step_templates(definition, step, pointer("steps", at), start)
    end = replace(start.also("steps"), settled=frozenset(definition.graph.order))
    yield "/output", definition.output, end


def _step_templates(
    definition: SagaDefinition, step: Step, at: str, start: _Place
) -> Iterator[tuple[str, Any, _Place]]:
    ready = replace(start.also("steps"), settled=definition.graph.upstream(step.name), step=step)
    within = ready.also("key", *(("item", "index") if step.for_each is not None else ()))
    yield f"{at}/when", step.when, ready
    yield f"{at}/for_each", step.for_each, ready
    yield f"{at}/wait", step.wait, within
    yield f"{at}/fail", step.fail, within
    yield f"{at}/output", step.output, within.also("response")
    if step.action is not None:
        yield from _call_templates(step.action, f"{at}/action", within)
    if step.signal is not None:
        yield f"{at}/signal/refused_when", step.signal.refused_when, within.also("response")
    if step.worker is not None:
        yield f"{at}/worker/input", step.worker.input, within
    if step.saga is not None:
        yield f"{at}/saga/input", step.saga.input, within
    yield from _compensation_templates(step, f"{at}/compensation", replace(within, own=True))


def _compensation_templates(step: Step, at: str, place: _Place) -> Iterator[tuple[str, Any, _Place]]:
    if isinstance(step.compensation, Call):
        yield from _call_templates(step.compensation, at, place)
    elif isinstance(step.compensation, Worker):
        yield f"{at}/worker/input", step.compensation.input, place


def _call_templates(call: Call, at: str, place: _Place) -> Iterator[tuple[str, Any, _Place]]:
    yield f"{at}/path", call.path, place
    yield f"{at}/query", call.query, place
    yield f"{at}/headers", call.headers, place.also("secret")
    yield f"{at}/body", call.body, place
    yield f"{at}/refused_when", call.refused_when, place.also("response")


def _leaves(template: Any, at: str) -> Iterator[tuple[str, str]]:
    """Yield every text of a template that holds an expression; documents are no deeper than 64 levels."""
    if isinstance(template, str):
        if "${" in template:
            yield at, template
    elif isinstance(template, dict):
        for name, value in template.items():
            yield from _leaves(value, f"{at}/{escape(name)}")
    elif isinstance(template, list):
        for index, value in enumerate(template):
            yield from _leaves(value, f"{at}/{index}")


def count_expressions(template: Any) -> int:
    """Return how many ``${`` stand in a JSON value no deeper than 64 levels."""
    return sum(text.count("${") for _at, text in _leaves(template, ""))


# what they refer to


def _check_text(text: str, at: str, place: _Place, definition: SagaDefinition) -> Problems:
    try:
        found = references(text)
    except ExpressionInvalid as invalid:
        yield Problem(pointer=at, detail=invalid.detail)
        return
    for reference in found:
        detail = _fault(reference, place, definition)
        if detail is not None:
            yield Problem(pointer=at, detail=f"${{{reference.expression}}}: {detail}")
        elif _may_be_missing(reference, place):
            yield Problem(pointer=at, detail=_missing_own(reference), severity="warning")


def _fault(reference: Reference, place: _Place, definition: SagaDefinition) -> str | None:
    root = reference.root
    if root not in place.roots:
        return _unknown_root(root, place, definition)
    if root in _MEMBERS:
        return _member_fault(reference)
    if root == "steps":
        return _step_fault(reference, place, definition)
    if root in ("key", "index") and reference.path:
        return f"{root!r} has no members: write ${{{root}}}"
    if root == "secret" and not (reference.strict and len(reference.path) == 1):
        return "a secret stands alone: write ${secret.<name>}, with text around it where needed"
    return None


def _unknown_root(root: str, place: _Place, definition: SagaDefinition) -> str:
    if root == "@":
        return "begin with what is referred to: input, steps.<name>.output, saga …"
    if root in _PLACES:
        return _PLACES[root]
    if root in ("null", "true", "false"):
        return f"in JMESPath a bare {root} is a member of that name: write `{root}` in backticks"
    if root in definition.graph:
        return f"there is no root {root!r}: did you mean steps.{root}.output?"
    known = [each for each in _ROOTS if each in place.roots]
    close = closest(root, known)
    hint = f"did you mean {close!r}?" if close is not None else f"use {', '.join(known)}"
    return f"there is no root {root!r}: {hint}"


def _member_fault(reference: Reference) -> str | None:
    root, path = reference.root, reference.path
    if not path or path[0] not in _MEMBERS[root]:
        return f"{root!r} has the members {', '.join(_MEMBERS[root])}: name one of them"
    if path[:1] == ("headers",) and len(path) > 1 and path[1] != path[1].lower():
        return f'header names are in lower case: write response.headers."{path[1].lower()}"'
    return None


def _step_fault(reference: Reference, place: _Place, definition: SagaDefinition) -> str | None:
    if not reference.path:
        return "name the step: steps.<name>.output"
    name = reference.path[0]
    if name not in definition.graph:
        return f"there is no step {name!r}{did_you_mean(name, definition.graph.order)}"
    if reference.path[1:2] != ("output",):
        return f"a step shows its output only: write steps.{name}.output"
    if place.step is not None and name == place.step.name:
        early = f"step {name!r} has no output yet: only its compensation can refer to it"
        return None if place.own else early
    if name not in place.settled:
        return f"step {name!r} is not upstream, so it may not have run yet: add it to 'after'"
    return None if reference.guarded else _absent_fault(definition.step(name), place.step)


def _absent_fault(step: Step, here: Step | None) -> str | None:
    """Say why a step may be without an output although it has settled."""
    mend = "give a default with '||'"
    if step.on_refused == "continue":
        return f"step {step.name!r} may be refused and has no output then: {mend}"
    if step.when is not None and (here is None or here.when != step.when):
        return f"step {step.name!r} may be skipped and has no output then: {mend}, or use the same 'when'"
    return None


def _may_be_missing(reference: Reference, place: _Place) -> bool:
    own = place.own and place.step is not None and reference.path[:1] == (place.step.name,)
    return reference.root == "steps" and own and not reference.guarded


def _missing_own(reference: Reference) -> str:
    return (
        f"${{{reference.expression}}}: when the action's answer was lost there is no output, and this"
        " compensation is parked for a person: let the action send ${key}, and address what it made by ${key}"
    )
