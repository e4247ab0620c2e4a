"""A definition as a diagram in mermaid.

What comes from the definition is escaped, so that no name or address ends a label.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from saga.language.model import Call, SagaDefinition, Step, Worker

#: What ends a label, or means something inside one.
_ESCAPES = str.maketrans(
    {"#": "#35;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "&": "#amp;", "`": "#96;", "\n": " ", "\r": " "}
)
_SHAPES = {"action": ("[", "]"), "pivot": ("{{", "}}"), "for_each": ("[[", "]]"), "undo": ("([", "])")}
_STYLES = (
    "classDef pivot stroke-width:3px,stroke:#b45309",
    "classDef retriable stroke:#15803d",
    "classDef undo stroke:#b91c1c,stroke-dasharray:4 3",
)
#: Longest text of a reason or condition that is shown whole.
_SHOWN = 60


def flowchart(definition: SagaDefinition) -> str:
    """Return the steps of a definition, what each waits for, and what undoes it.

    The pivot is a hexagon; compensations hang from their steps by dotted lines.
    """
    lines = ["flowchart TD", f"  %% {definition.name}"]
    for step in definition.steps:
        lines += [f"  {line}" for line in _step_lines(definition, step)]
    lines += [f"  {style}" for style in _STYLES]
    return "\n".join(lines) + "\n"


def _step_lines(definition: SagaDefinition, step: Step) -> Iterator[str]:
    yield _box(f"step_{step.name}", _shape(step), _step_label(step), _step_class(definition, step))
    for before in definition.graph.after(step.name):
        yield f"step_{before} --> step_{step.name}"
    undo = _undo_label(step)
    if undo is not None:
        yield _box(f"undo_{step.name}", "undo", (f"undo {step.name}", undo), "undo")
        yield f"step_{step.name} -.-> undo_{step.name}"


def _box(name: str, shape: str, label: Iterable[str], style: str) -> str:
    opening, closing = _SHAPES[shape]
    text = "<br/>".join(part.translate(_ESCAPES) for part in label)
    return f'{name}{opening}"{text}"{closing}' + (f":::{style}" if style else "")


def _shape(step: Step) -> str:
    if step.pivot:
        return "pivot"
    return "action" if step.for_each is None else "for_each"


def _step_class(definition: SagaDefinition, step: Step) -> str:
    return {"before": "", "pivot": "pivot", "after": "retriable"}[definition.position(step.name)]


def _step_label(step: Step) -> Iterator[str]:
    yield step.name + (" (pivot)" if step.pivot else "")
    yield _does(step)
    if step.for_each is not None:
        yield f"for each of {_short(step.for_each)}"
    if step.when is not None:
        yield f"when {_short(step.when)}"


def _does(step: Step) -> str:
    if step.action is not None:
        return _call(step.action)
    if step.worker is not None:
        return f"worker on {step.worker.queue}"
    if step.saga is not None:
        return f"saga {step.saga.name}"
    if step.signal is not None:
        return f"signal {step.signal.name}"
    return f"wait {_short(step.wait)}" if step.wait is not None else f"fail: {_short(step.fail or '')}"


def _undo_label(step: Step) -> str | None:
    if isinstance(step.compensation, Worker):
        return f"worker on {step.compensation.queue}"
    if isinstance(step.compensation, Call):
        return _call(step.compensation, of=step.action)
    return None


def _call(call: Call, *, of: Call | None = None) -> str:
    service = call.service or call.url or (of.service or of.url if of is not None else None) or ""
    return f"{call.method} {service}{call.path}"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
