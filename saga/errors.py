"""Every error this package raises, in one tree.

::

    SagaError
    ├── DefinitionInvalid      a definition, with every problem found in it
    │   └── NotYetExecuted     it is sound, but asks for what only a later release does
    ├── InputInvalid           a request or an input, with every problem found in it
    ├── SettingsInvalid        the settings or the folder of definitions, with every problem found in them
    ├── CannotListen           the address to listen on cannot be used
    ├── IllegalEntry           an entry the transition table does not allow
    ├── UnreadableJournal      a journal this release cannot read
    │   └── NewerJournal       its format is one of a later release
    ├── RequestChanged         an attempt would not repeat the bytes of the one before
    ├── InboxFull              too many messages wait for the saga
    ├── Busy, Stopping         no start is taken now
    ├── Refusal                a request is not done, and what its client is told (saga.api)
    └── StoreError
        ├── StoreUnavailable   nothing was written; the same call may be made again
        ├── StoreUnknown       the write's answer was lost; read back before anything is decided
        │   └── StartUnknown   that of a start, with the id it has if it exists
        ├── LeaseLost          another owner holds the saga, or its journal has moved on
        ├── MessagesWaiting    the inbox must be folded before this can be written
        └── StoreUnusable      the configured store cannot be opened; a person has to act

Adapters translate a driver's errors into this tree with ``raise … from``; nothing else crosses a port.
Exceptions outside it, such as ``NothingFound``, are answers between two modules: whoever calls makes a fact of
them, or one of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with a document, and how to mend it."""

    #: JSON pointer (RFC 6901) to the member at fault; "" is the whole document.
    pointer: str
    #: What is wrong and what to write instead, for a person.
    detail: str
    #: Line of the text the document was read from, from 1; None when it was not read from text.
    line: int | None = None
    #: An error refuses the document; a warning does not.
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        """Return one line: where, then what."""
        where = f"line {self.line}: " if self.line is not None else ""
        return f"{where}{self.pointer or '/'}: {self.detail}"


class SagaError(Exception):
    """Something this package refuses or cannot do."""


class _WithProblems(SagaError):
    """Carry every problem that was found, not only the first."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class DefinitionInvalid(_WithProblems):
    """A saga definition has the problems listed in ``problems``."""


class NotYetExecuted(DefinitionInvalid):
    """A definition that is sound asks for what this release does not execute yet."""


class InputInvalid(_WithProblems):
    """A request, or the input of a saga, has the problems listed in ``problems``."""


class SettingsInvalid(_WithProblems):
    """The coordinator cannot start as it is told to; ``pointer`` names the variable, flag or file."""


class CannotListen(SagaError):
    """The address to listen on cannot be used; the message says why."""


class IllegalEntry(SagaError):
    """An entry does not fit the state it was to be applied to; the state is unchanged."""


class UnreadableJournal(SagaError):
    """A journal holds an entry or a format this release does not know; a newer release may read it."""


class NewerJournal(UnreadableJournal):
    """A journal has a format of a later release: nothing is wrong with it, and it is not this one's to touch."""


class RequestChanged(SagaError):
    """An invocation that was sent before would be sent with other bytes now, which must not happen."""


class InboxFull(SagaError):
    """Too many messages wait in the saga's inbox; its owner folds them, so the same may be sent again."""


class Busy(SagaError):
    """Too many starts wait to be written: come again in a moment."""


class Stopping(SagaError):
    """The coordinator is being stopped and takes no more starts."""


class StoreError(SagaError):
    """The store did not do what it was asked."""


class StoreUnavailable(StoreError):
    """The store cannot be reached or is full: nothing was written, the call may be repeated."""


class StoreUnknown(StoreError):
    """A write was sent and its answer lost: it may or may not have been applied."""


class StartUnknown(StoreUnknown):
    """The start's answer was lost: ask again under the same key. ``saga_id`` is the id it has, if it exists."""

    def __init__(self, saga_id: str) -> None:
        super().__init__("the store did not say whether the saga was started")
        self.saga_id = saga_id


class LeaseLost(StoreError):
    """The lease is stale: another coordinator owns the saga, or its journal is not where it was thought."""


class MessagesWaiting(StoreError):
    """The saga's inbox holds messages that must be folded first; nothing was written."""


class StoreUnusable(StoreError):
    """The configured store cannot be used as it is; the message says why and what to do."""
