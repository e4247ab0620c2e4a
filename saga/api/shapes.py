"""The shapes of answers, for those who read and those who check them; the values are made elsewhere."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, TypeAlias

from pydantic import Field
from typing_extensions import TypedDict

from saga.core.entries.base import Cause
from saga.core.statuses import Direction, Status, StepStatus, UndoStatus
from saga.language.fields import Phase

Time: TypeAlias = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
#: Masked ones are text, whatever they were.
Labels: TypeAlias = dict[str, str | int | float | bool]


class DefinitionUsed(TypedDict):
    """Which definition a saga is of."""

    name: str
    version: Annotated[int, Field(ge=0)]


class Progress(TypedDict):
    """How many steps are over, of how many; going backward, how many compensations."""

    done: Annotated[int, Field(ge=0)]
    total: Annotated[int, Field(ge=0)]


class SagaError(TypedDict):
    """Why a saga is where it is."""

    step: Annotated[str | None, Field(description="The step that was the reason, if it was one.")]
    kind: Cause
    detail: str


class StepError(TypedDict):
    """Why a step, or its compensation, is where it is."""

    kind: Cause
    detail: str


class Undo(TypedDict):
    """How far the undoing of a step is."""

    status: UndoStatus
    attempts: Annotated[int, Field(ge=0)]
    error: StepError | None
    started_at: Time | None
    ended_at: Time | None


class SagaStep(TypedDict):
    """One step of a saga, or one instance of a step with `for_each`."""

    name: str
    status: StepStatus
    attempts: Annotated[int, Field(ge=0)]
    output: Any
    error: StepError | None
    started_at: Time | None
    ended_at: Time | None
    next_attempt_at: Time | None
    compensation: Annotated[Undo | None, Field(description="Null where nothing is owed.")]


class SagaSummary(TypedDict):
    """A saga in a list: without payloads."""

    id: str
    definition: DefinitionUsed
    status: Status
    direction: Direction
    late: Annotated[
        bool, Field(description="It should have ended by now, or a step has been tried for long.")
    ]
    progress: Progress
    error: SagaError | None
    labels: Labels
    started_at: Time
    updated_at: Time
    ended_at: Time | None
    owner: Annotated[str | None, Field(description="The node that advances it, if one does.")]
    fence: Annotated[int, Field(ge=0, description="Rises whenever another coordinator takes it over.")]
    trace_id: str | None
    parent: Annotated[str | None, Field(description="The saga it is a child of.")]


class Saga(SagaSummary):
    """A saga. What its definition calls sensitive is masked."""

    input: Any
    output: Any
    steps: list[SagaStep]
    next_attempt_at: Time | None


class Unreadable(TypedDict):
    """Why a journal cannot be read to its end, and how far."""

    type: Literal["journal-unreadable"]
    detail: str


class UnreadableSaga(SagaSummary):
    """A saga whose journal cannot be read to its end by this release: what is known of it all the same."""

    problem: Unreadable


class UnreadEntry(TypedDict):
    """An entry that cannot be read."""

    seq: Annotated[int, Field(ge=1)]
    at: Time | None
    kind: str
    raw: Annotated[
        Any, Field(description="What is stored; null where the definition calls something sensitive.")
    ]


class PlannedCall(TypedDict):
    """What would be sent; of a worker's task and of a child saga, what would be asked."""

    step: str
    phase: Phase
    method: str
    url: str


class Omitted(TypedDict):
    """A step that would not be undone, and why."""

    step: str
    why: str


class Plan(TypedDict):
    """What would be undone if the saga were cancelled now: waves one after the other, each at once."""

    waves: list[list[PlannedCall]]
    omitted: list[Omitted]


class Recorded(TypedDict):
    """It is durable; what comes of it shows in the saga."""

    recorded: Literal[True]
    id: NotRequired[Annotated[str, Field(description="The message, as entries of the journal name it.")]]


class Fault(TypedDict):
    """One thing that is wrong, or a warning."""

    pointer: Annotated[
        str, Field(description="JSON Pointer to the member; `?name` is a parameter of the query.")
    ]
    detail: str
    line: NotRequired[Annotated[int, Field(ge=1, description="Where it stands in the text that was sent.")]]


class Put(TypedDict):
    """What became of a definition that was put."""

    name: str
    version: Annotated[int, Field(ge=1)]
    created: Annotated[bool, Field(description="False: it equals the latest version.")]
    warnings: list[Fault]
    dry_run: NotRequired[Literal[True]]


class VersionRow(TypedDict):
    """One version of a definition."""

    name: str
    version: Annotated[int, Field(ge=1)]
    created_at: Time
    deleted: Annotated[bool, Field(description="No new sagas are started of it.")]


class DefinitionRow(VersionRow):
    """A definition in a list."""

    description: str | None


class StoredDefinition(DefinitionRow):
    """A definition as it was stored: with every default written out."""

    definition: Annotated[dict[str, Any], Field(json_schema_extra={"component": "Definition"})]


class Node(TypedDict):
    """A coordinator that shares the store."""

    id: str
    alive: bool
    self: Annotated[bool, Field(description="It is the one that answers.")]


class Health(TypedDict):
    """The process answers."""

    status: Literal["ok"]


class Written(TypedDict):
    """What the store has written since it was opened."""

    commits: Annotated[int, Field(ge=0)]
    appends: Annotated[int, Field(ge=0)]
    starts: Annotated[int, Field(ge=0)]


class Ready(TypedDict):
    """The coordinator takes work."""

    status: Literal["ready"]
    running: Annotated[int, Field(ge=0, description="Sagas held in memory.")]
    store: Written


class SagaPage(TypedDict):
    """Sagas, newest first."""

    items: list[SagaSummary]
    next: str | None


class JournalPage(TypedDict):
    """Entries of a journal, in order."""

    items: Annotated[list[Any], Field(json_schema_extra={"items": {"component": "Entry"}})]
    next: str | None
    problem: NotRequired[Unreadable]


class DefinitionPage(TypedDict):
    """Definitions, by name."""

    items: list[DefinitionRow]
    next: str | None


class VersionPage(TypedDict):
    """Versions of a definition, newest first."""

    items: list[VersionRow]
    next: str | None


class NodePage(TypedDict):
    """Nodes."""

    items: list[Node]
    next: str | None


class ProblemDocument(TypedDict):
    """What went wrong (RFC 9457): `type` is a stable word for programs, `detail` is for people."""

    type: str
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    errors: NotRequired[
        Annotated[list[Fault], Field(description="Everything that is wrong, each with its place.")]
    ]
    id: NotRequired[Annotated[str, Field(description="The saga it is about.")]]
    reason: NotRequired[Annotated[str, Field(description="Why the saga ended as it did.")]]
    saga: NotRequired[Saga]
