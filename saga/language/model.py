"""What a saga definition is: its parts, as frozen pydantic models.

A model stands for a definition as it is written, with only some of its fields set, as well as for the
normalised one, in which every default is written out: pydantic remembers which fields were set, and
:meth:`SagaDefinition.document` writes out the others. Only normalised definitions are executed.

Here the *shape* is checked; how the parts fit together is checked by :mod:`saga.language.checks`.
Durations are ``float`` seconds, and text such as ``10m`` in a document.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    ValidationInfo,
    WrapSerializer,
    WrapValidator,
)

from saga.language.fields import (
    DOCUMENT,
    KINDS,
    Attempts,
    Duration,
    Factor,
    Kind,
    Method,
    Name,
    Part,
    Position,
    Unlimited,
    Verdicts,
)
from saga.language.graph import Graph
from saga.language.normal import write_out


class Retry(Part):
    """How often and how far apart attempts are made.

    Attempt 1 is the first; the wait before attempt *n* + 1 is ``initial * factor ** (n - 1)``, but at most
    ``max``.
    """

    #: Attempts in all, the first included; None for unlimited ones.
    attempts: Attempts = 4
    #: Wait before the second attempt.
    initial: Duration = 0.2
    #: What each wait is multiplied by to give the next.
    factor: Factor = 2.0
    #: Longest wait between two attempts.
    max: Duration = 10.0
    #: No attempt starts later than this after the first; None for no such bound.
    within: Unlimited = None


class Pending(Part):
    """What is done while a participant has answered 202 and not yet said what came of it."""

    #: How long it may take until its outcome counts as uncertain.
    timeout: Duration = 900.0
    #: How far apart it is asked.
    poll: Duration = 10.0


class CallDefaults(Part):
    """What calls take that say nothing themselves."""

    timeout: Duration = 10.0
    retry: Retry = Retry()


class Defaults(Part):
    """What the calls of one definition take that say nothing themselves."""

    #: For actions; after the pivot only the timeout.
    action: CallDefaults = CallDefaults()
    #: For compensations, and for the retries of steps after the pivot and of a pivot in doubt.
    compensation: CallDefaults = CallDefaults()


class Service(Part):
    """Where a participant is."""

    #: Base address, absolute; a call's path is appended to it.
    url: str
    #: How long the participant remembers an idempotency key; None: for ever.
    key_lifetime: Duration | None = None


class Call(Part):
    """One HTTP request to a participant: an action or a compensation."""

    nullable = frozenset({"body"})

    #: Name of the service it goes to; a compensation's is its action's when it names neither.
    service: Name | None = None
    #: An absolute address in place of a service.
    url: str | None = None
    method: Method = "POST"
    #: Appended to the base address; each ``${…}`` is one segment or part of one.
    path: str = ""
    query: dict[str, Any] = Field(default_factory=dict)
    headers: dict[str, str] = Field(default_factory=dict)
    #: JSON with ``${…}``; sent only when it is set, null included: see :attr:`has_body`.
    body: Any = None
    #: Of one attempt.
    timeout: Duration = 10.0
    retry: Retry = Retry()
    #: "text" takes a complete body of any kind as text.
    accept: Literal["json", "text"] = "json"
    #: What a status code or class means ("404", "5xx") where it is not the usual.
    on_status: Verdicts = Field(default_factory=dict)
    #: A condition over ``response``: the participant said no although its status says yes.
    refused_when: str | None = None
    pending: Pending = Pending()

    @property
    def has_body(self) -> bool:
        """Whether a body is sent; a body of null is sent as JSON null."""
        return "body" in self.model_fields_set


#: The names under which Python definitions read well; the coordinator treats both alike.
Action = Call
Compensation = Call


class Worker(Part):
    """Work that is put into a queue, and done by a worker that polls it."""

    nullable = frozenset({"input"})

    queue: Name
    input: Any = None
    #: How long a worker has for it before its lease runs out.
    timeout: Duration = 10.0
    retry: Retry = Retry()


class Signal(Part):
    """A message from outside that the step waits for."""

    name: Name
    #: How long it waits; None: for ever.
    timeout: Duration | None = None
    #: A condition over ``response``, whose body is the payload: the message is a no.
    refused_when: str | None = None


class ChildSaga(Part):
    """A saga that is started and awaited as a step."""

    nullable = frozenset({"input"})

    #: The child's definition.
    name: Name
    #: Its version; None until the parent is stored, which pins it.
    version: Annotated[int, Field(strict=True, ge=1)] | None = None
    input: Any = None


class WorkerCompensation(Part):
    """How a document writes a compensation that a worker makes: ``{worker: …}``."""

    worker: Worker


def _compensation_tag(value: Any) -> str:
    if isinstance(value, str):
        return "~none"
    held = isinstance(value, dict) and "worker" in value
    return "~worker" if held or isinstance(value, Worker) else "~call"


def _held_worker(value: Any, _handler: Any, info: ValidationInfo) -> Worker:
    if isinstance(value, Worker):
        return value
    return WorkerCompensation.model_validate(value, context=info.context).worker


def _as_held(value: Any, handler: SerializerFunctionWrapHandler) -> Any:
    return {"worker": handler(value)}


_HeldWorker: TypeAlias = Annotated[
    Worker,
    WrapValidator(_held_worker, json_schema_input_type=WorkerCompensation),
    WrapSerializer(_as_held),
    Tag("~worker"),
]
#: Tags begin with "~", which no member of a document does, so that they can be told from a place in it.
AnyCompensation: TypeAlias = Annotated[
    Annotated[Call, Tag("~call")] | _HeldWorker | Annotated[Literal["none"], Tag("~none")],
    Discriminator(_compensation_tag),
]


class Step(Part):
    """An action and, if it can be undone, its compensation; or a wait, a signal, a child saga, a no."""

    nullable = frozenset({"output"})

    name: Name
    #: Names of the steps it waits for; not set: the step above it.
    after: tuple[str, ...] = ()
    #: A condition; where it does not hold the step is skipped.
    when: str | None = None
    #: An array; the step runs once for each of its items.
    for_each: str | None = None
    #: How many instances of a ``for_each`` run at once.
    max_parallel: Annotated[int, Field(strict=True, ge=1, le=1000)] = 10
    action: Call | None = None
    #: A duration, an RFC 3339 time, or ``${…}``.
    wait: str | None = None
    signal: Signal | None = None
    saga: ChildSaga | None = None
    worker: Worker | None = None
    #: The reason of a business no.
    fail: str | None = None
    #: Once it has succeeded, the saga only goes forward.
    pivot: Annotated[bool, Field(strict=True)] = False
    #: "continue" tolerates a certain refusal.
    on_refused: Literal["compensate", "continue"] = "compensate"
    #: Not ended by then: the saga is late.
    due: Duration | None = None
    #: What the step leaves for others, a template over ``response``; see :attr:`has_output`.
    output: Any = None
    #: JSON pointers into the output that are masked wherever it is shown.
    sensitive: tuple[str, ...] = ()
    compensation: AnyCompensation | None = None

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Every kind that is set; exactly one in a definition that passed its checks."""
        return tuple(kind for kind in KINDS if getattr(self, kind) is not None)

    @cached_property
    def kind(self) -> Kind:
        """What the step is."""
        return next(iter(self.kinds), "action")

    @property
    def compensatable(self) -> bool:
        """Whether anything is owed for the step once it may have happened; a child saga undoes itself."""
        return self.compensation != "none" and (self.compensation is not None or self.kind == "saga")

    @property
    def has_output(self) -> bool:
        """Whether an output is given; without one the whole body is the output."""
        return "output" in self.model_fields_set


class SagaDefinition(Part):
    """A named template of sagas."""

    nullable = frozenset({"output"})

    name: Name
    description: str | None = None
    #: JSON Schema 2020-12 for the input; None takes any.
    input: dict[str, Any] | None = None
    #: JSON pointers into the input that are masked wherever it is shown.
    sensitive: tuple[str, ...] = ()
    services: dict[Name, Service] = Field(default_factory=dict)
    #: Deadline of the forward part.
    timeout: Duration | None = None
    #: Not ended by then: the saga is late.
    due: Duration | None = None
    #: Templates over ``input`` and ``saga`` of what sagas are searched by; text, numbers and booleans.
    labels: dict[Name, Any] = Field(default_factory=dict)
    defaults: Defaults = Defaults()
    steps: tuple[Step, ...]
    #: What the saga as a whole gives, a template over ``steps``; see :attr:`has_output`.
    output: Any = None

    @property
    def has_output(self) -> bool:
        """Whether an output is given."""
        return "output" in self.model_fields_set

    @cached_property
    def _by_name(self) -> dict[str, Step]:
        return {step.name: step for step in reversed(self.steps)}

    def step(self, name: str) -> Step:
        """Return the step of that name; KeyError when there is none."""
        return self._by_name[name]

    @cached_property
    def graph(self) -> Graph:
        """Which step waits for which."""
        return Graph.of(
            [(each.name, each.after if "after" in each.model_fields_set else None) for each in self.steps]
        )

    @cached_property
    def pivot(self) -> str | None:
        """Name of the pivot; None when every step can be undone."""
        return next((step.name for step in self.steps if step.pivot), None)

    @cached_property
    def conceals(self) -> bool:
        """Whether anything of its sagas is masked."""
        return bool(self.sensitive) or any(step.sensitive for step in self.steps)

    def position(self, name: str) -> Position:
        """Return where a step stands; everything is "before" when there is no pivot."""
        if self.pivot is None or name in self.graph.upstream(self.pivot):
            return "before"
        if name == self.pivot:
            return "pivot"
        return "after" if name in self.graph.downstream(self.pivot) else "before"

    def normalised(self) -> SagaDefinition:
        """Return the definition with every default written out; of a normalised one an equal one."""
        return SagaDefinition.model_validate(write_out(self._written()), context=dict(DOCUMENT))

    def document(self) -> dict[str, Any]:
        """Return the normalised JSON document; members stand in the order of the fields here."""
        return self.normalised()._written()  # noqa: SLF001 -- the same class

    def _written(self) -> dict[str, Any]:
        """Return what is set, as JSON."""
        return self.model_dump(mode="json", exclude_unset=True)
