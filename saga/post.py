"""Messages: put into a saga's inbox, folded by its owner, answered with the verdict."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from pydantic_core import to_json

from saga.catalogue import Catalogue
from saga.changes import Seen, Watch
from saga.core.encoding import read
from saga.core.entries import Entry
from saga.core.journal import replay
from saga.core.messages import Callback, Told, fold_all, hear
from saga.core.state import SagaState
from saga.core.tokens import Addressed
from saga.errors import InboxFull, NewerJournal, StoreError, UnreadableJournal
from saga.language.model import SagaDefinition
from saga.ports.clock import Clock
from saga.ports.store import Sagas
from saga.ports.stored import Message, Record
from saga.worker import Worker

log = logging.getLogger(__name__)

#: Seconds a command's verdict is waited for.
VERDICT_WAIT = 5.0

#: Seconds between two looks for a verdict that another coordinator may write.
LOOK_EVERY = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A saga as stored, replayed."""

    record: Record
    entries: tuple[Entry, ...]
    state: SagaState
    definition: SagaDefinition

    @property
    def seen(self) -> Seen:
        """Return it as those see it who need no journal."""
        return Seen(self.definition, self.state, self.record.owner, self.record.fence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a command has become, and the saga then."""

    entry: Entry
    seen: Seen


class Post:
    """Delivers messages, and reads what became of them."""

    def __init__(self, store: Sagas, catalogue: Catalogue, worker: Worker, clock: Clock) -> None:
        self._store, self._catalogue, self._worker, self._clock = store, catalogue, worker, clock

    async def load(self, saga_id: str) -> Loaded | None:
        """Return the saga, None when it is unknown.

        Raises :class:`~saga.errors.UnreadableJournal` when this release cannot read it, or its definition is gone.
        """
        record = await self._store.load(saga_id)
        if record is None:
            return None
        try:
            entries = read(record.format, record.entries)
            state = replay(entries)
        except UnreadableJournal:
            raise
        except Exception as error:
            # What is stored is not what was written: whoever asks has to learn of it, and of the saga all else.
            log.exception("the journal of saga %s cannot be read", saga_id)
            raise UnreadableJournal(f"the coordinator could not read it: {type(error).__name__}") from error
        definition = await self._catalogue.running(state.definition, state.version)
        if definition is None:
            raise UnreadableJournal(f"its definition, {state.definition} in version {state.version}, is gone")
        return Loaded(record=record, entries=entries, state=state, definition=definition)

    async def see(self, saga_id: str) -> Seen | None:
        """Return the saga as it is now, from memory when it is certainly this node's; None when unknown."""
        held = None if self._store.shared else self._worker.held(saga_id)
        if held is not None:
            return held
        loaded = await self.load(saga_id)
        return None if loaded is None else loaded.seen

    def watch(self, saga_id: str) -> AbstractContextManager[Watch]:
        """Notice the saga's end within a ``with`` statement, which has to stand around what may lead to it."""
        return self._worker.changes.watch(saga_id, only_end=True)

    async def ended(self, watch: Watch, seen: Seen, seconds: float) -> Seen:
        """Wait for the saga's end, at most so many seconds; return how it was seen last."""
        until = self._clock.monotonic() + seconds
        while not seen.state.ended and not self._worker.stopping:
            left = until - self._clock.monotonic()
            if left <= 0:
                break
            # Another coordinator tells nobody here.
            await watch.wait(min(left, LOOK_EVERY) if self._store.shared else left)
            if watch.seen is not None:
                seen = watch.seen
            if self._store.shared and not seen.state.ended:
                seen = await self.see(seen.state.id) or seen
        return seen

    async def deliver(self, saga_id: str, message: Message) -> bool:
        """Put the message into the saga's inbox and tell its owner; False when the saga is unknown.

        Raises :class:`~saga.errors.InboxFull`.
        """
        delivered = await self._store.deliver(saga_id, message)
        if delivered.result == "full":
            raise InboxFull("too many messages wait in the saga's inbox")
        if delivered.result == "unknown":
            return False
        if delivered.owner in (None, self._worker.node):
            # The message is durable whatever comes of this; who owns the saga looks for messages by himself.
            with suppress(StoreError):
                await self._worker.poke(saga_id)
        return True

    async def verdict(
        self, saga_id: str, message_id: str, *, seconds: float = VERDICT_WAIT
    ) -> Verdict | None:
        """Return what a command has become, None when its owner has not folded it in time."""
        until = self._clock.monotonic() + seconds
        with self._worker.changes.watch(saga_id) as watch:
            while True:
                try:
                    loaded = await self.load(saga_id)
                except NewerJournal:
                    return None  # a node of a later release folds it; what it makes of it cannot be read here
                entry = None if loaded is None else _verdict_on(loaded, message_id)
                if loaded is not None and entry is not None:
                    return Verdict(entry=entry, seen=loaded.seen)
                left = until - self._clock.monotonic()
                if left <= 0 or self._worker.stopping:
                    return None
                await watch.wait(min(left, LOOK_EVERY))

    async def callback(self, addressed: Addressed, callback: Callback, *, by: str) -> Told:
        """Record a callback; return what its sender is to be told, which is durable by then."""
        loaded = await self.load(addressed.saga_id)
        if loaded is None:
            return "unknown"
        now = self._clock.now()
        told, found = _heard(loaded, loaded.record.messages, callback, now)
        if told in ("unknown", "conflict") or (told == "taken" and not found):
            return told
        attempts = loaded.state.step(callback.step).invocation(callback.phase).attempts
        message = Message(
            id=f"callback:{callback.about}:{attempts}:{callback.fingerprint}",
            kind="callback",
            body=to_json(_body(callback)),
            by=by,
            at=now,
            about=callback.about,
        )
        await self.deliver(addressed.saga_id, message)
        # What came in between may have settled it differently: only what stands before it in the inbox counts.
        again = await self.load(addressed.saga_id)
        if again is None:
            return told
        before = tuple(takewhile(lambda waiting: waiting.id != message.id, again.record.messages))
        return _heard(again, before, callback, now)[0]


def _verdict_on(loaded: Loaded, message_id: str) -> Entry | None:
    """Return the entry that a command has become, None when it is not folded yet."""
    return next(
        (entry for entry in reversed(loaded.entries) if getattr(entry, "message", None) == message_id), None
    )


def _heard(
    loaded: Loaded, messages: tuple[Message, ...], callback: Callback, now: float
) -> tuple[Told, tuple[Entry, ...]]:
    """Return what a callback means once these messages, which came before it, are folded."""
    state, _ = fold_all(loaded.definition, loaded.state, messages, now)
    return hear(loaded.definition, state, callback, now)


def _body(callback: Callback) -> dict[str, Any]:
    return {
        "step": callback.step,
        "phase": callback.phase,
        "outcome": callback.outcome,
        "output": callback.output,
        "error": callback.error,
    }
