"""The state machine as a diagram in mermaid, made from the table of :mod:`saga.core.transitions`."""

from __future__ import annotations

from collections.abc import Mapping

from saga.core import entries as e
from saga.core.entries import Entry
from saga.core.statuses import Status
from saga.core.transitions import SAGA_TRANSITIONS

#: What a person did, or what concerns the saga as a whole; the rest is told as one.
_BY_NAME = frozenset(
    kind
    for kind in e.KINDS.values()
    if kind.kind.startswith(("saga_", "turned_")) or "_commanded" in kind.kind
)
_ENDS = (e.SagaCompleted, e.SagaCompensated, e.SagaAbandoned)


def saga_diagram() -> str:
    """Return the statuses of a saga and the entries that lead from one to another."""
    edges: dict[tuple[str, str], list[str]] = {("[*]", Status.RUNNING): [_words(e.SagaStarted)]}
    for status, row in SAGA_TRANSITIONS.items():
        for kind, target in row.items():
            # Without a target it goes on in its direction.
            for to in (Status.RUNNING, Status.COMPENSATING) if target is None else (target,):
                label = _words(kind) if kind in _BY_NAME else "an answer or a late fact"
                edges.setdefault((status, to), []).append(label)
    ends = {row[kind]: None for row in SAGA_TRANSITIONS.values() for kind in _ENDS if kind in row}
    edges |= {(str(end), "[*]"): [] for end in ends}
    return _diagram(edges)


def _words(kind: type[Entry]) -> str:
    return kind.kind.replace("_", " ")


def _diagram(edges: Mapping[tuple[str, str], list[str]]) -> str:
    """Draw the edges that lead elsewhere; one line each, its entries below one another."""
    lines = ["stateDiagram-v2"]
    for (start, end), labels in edges.items():
        if start != end:
            label = "<br/>".join(dict.fromkeys(labels))
            lines.append(f"  {start} --> {end}" + (f": {label}" if label else ""))
    return "\n".join(lines) + "\n"
