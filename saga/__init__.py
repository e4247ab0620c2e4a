"""A saga transaction coordinator: it calls your services, and owns the undoing.

What is here is what a definition in Python is written with; nothing of it does any I/O::

    from saga import Action, Compensation, SagaDefinition, Service, Step

    booking = SagaDefinition(
        name="booking",
        services={"flights": Service(url="http://127.0.0.1:9101")},
        steps=(
            Step(
                name="reserve",
                action=Action(service="flights", path="/reservations", body={"id": "${key}"}),
                compensation=Compensation(method="DELETE", path="/reservations/${key}"),
            ),
        ),
    )
    parse_definition(booking).definition.document()   # the same JSON as a YAML file gives
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from saga.definition import parse_definition
    from saga.errors import DefinitionInvalid, Problem, SagaError
    from saga.language.model import (
        Action,
        Call,
        CallDefaults,
        ChildSaga,
        Compensation,
        Defaults,
        Pending,
        Retry,
        SagaDefinition,
        Service,
        Signal,
        Step,
        Worker,
    )

__all__ = [
    "Action",
    "Call",
    "CallDefaults",
    "ChildSaga",
    "Compensation",
    "Defaults",
    "DefinitionInvalid",
    "Pending",
    "Problem",
    "Retry",
    "SagaDefinition",
    "SagaError",
    "Service",
    "Signal",
    "Step",
    "Worker",
    "parse_definition",
]

#: Where a name is defined that is not of the model.
_ELSEWHERE = {
    "DefinitionInvalid": "saga.errors",
    "Problem": "saga.errors",
    "SagaError": "saga.errors",
    "parse_definition": "saga.definition",
}


def __getattr__(name: str) -> Any:
    # Loaded when asked for: the command line imports this package too, and must start in no time.
    if name not in __all__:
        raise AttributeError(f"module 'saga' has no attribute {name!r}")
    return getattr(import_module(_ELSEWHERE.get(name, "saga.language.model")), name)
