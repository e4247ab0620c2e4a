"""Virtual time: one timeline of what is to happen, and an event loop for each process that lives on it.

Nothing sleeps. Whenever no process has anything ready, time jumps to the next event. Of several processes that are
ready one is drawn; within a process callbacks run in their order, as asyncio promises. A process that hangs is not
drawn; one that has died never again.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import random
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from math import inf, nextafter
from typing import Any


class Timeline:
    """What is to happen, and the dice by which it does."""

    def __init__(self, seed: object) -> None:
        self.now = 0.0
        self.dice = random.Random(f"{seed}")
        self.processes: list[ProcessLoop] = []
        #: What is still under way somewhere outside the processes.
        self.under_way = 0
        self._heap: list[tuple[float, float, int, Callable[..., Any], tuple[Any, ...]]] = []
        self._count = 0

    def at(self, when: float, do: Callable[..., Any], *args: Any) -> None:
        """Let it happen at that time; among equal times the dice decide."""
        self._count += 1
        heapq.heappush(self._heap, (max(when, self.now), self.dice.random(), self._count, do, args))

    def after(self, seconds: float, do: Callable[..., Any], *args: Any) -> None:
        """Let it happen so many seconds from now."""
        self.at(self.now + seconds, do, *args)

    def send(self, seconds: float, do: Callable[..., Any], *args: Any) -> None:
        """Let it arrive so many seconds from now; until then it is under way."""
        self.under_way += 1
        self.after(seconds, self._arrive, do, args)

    def _arrive(self, do: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.under_way -= 1
        do(*args)

    def run(self, until: float) -> None:
        """Let everything happen up to that time."""
        while True:
            ready = [process for process in self.processes if process.ready and not process.held]
            if ready:
                (ready[0] if len(ready) == 1 else self.dice.choice(ready)).run_ready()
            elif self._heap and self._heap[0][0] <= until:
                self.now, _, _, do, args = heapq.heappop(self._heap)
                do(*args)
            else:
                self.now = max(self.now, until)
                return


class ProcessLoop(asyncio.AbstractEventLoop):
    """The event loop of one process: its callbacks, its own monotonic clock, and how it ends."""

    def __init__(self, timeline: Timeline, *, name: str = "", offset: float = 0.0, rate: float = 1.0) -> None:
        self.timeline, self.name = timeline, name
        self.ready: deque[asyncio.Handle] = deque()
        #: It hangs: nothing of it runs.
        self.held = False
        self.alive = True
        #: Callbacks until it dies; None: it is not going to.
        self.left: int | None = None
        self.on_death: Callable[[], None] = lambda: None
        #: Errors nobody took care of.
        self.complaints: list[str] = []
        self._offset, self._rate = offset, rate
        self._tasks: list[asyncio.Task[Any]] = []
        timeline.processes.append(self)

    def run_ready(self) -> None:
        """Run what is ready now, in order, unless it dies in between."""
        events._set_running_loop(self)
        try:
            for _ in range(len(self.ready)):
                handle = self.ready.popleft()
                if not handle._cancelled:  # type: ignore[attr-defined]
                    handle._run()
                if self.left is not None:
                    self.left -= 1
                    if self.left <= 0:
                        self.die()
                if not self.alive or self.held:
                    return
        finally:
            events._set_running_loop(None)

    def die(self) -> None:
        """Run nothing any more: nothing is cancelled, nothing is said to anybody."""
        self.alive, self.left = False, None
        self.ready.clear()
        self.timeline.processes.remove(self)
        self.on_death()

    def receive(self, future: asyncio.Future[Any], answer: object) -> None:
        """Let an answer arrive from outside; a process that has died never gets it."""
        if self.alive:
            self.call_soon(_settle, future, answer)

    def bury(self) -> None:
        """End what a dead process has left, where nothing of it can do anything any more."""
        self.timeline = _GRAVEYARD
        self.ready = deque(maxlen=0)
        self.alive = False
        events._set_running_loop(self)
        try:
            while self._tasks:
                task = self._tasks.pop()
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                if not task.done():
                    with suppress(BaseException):
                        task.get_coro().close()  # type: ignore[union-attr]
        finally:
            events._set_running_loop(None)

    # ----------------------------------------------------------------- what asyncio asks of a loop

    def time(self) -> float:
        return self._offset + self.timeline.now * self._rate

    def call_soon(
        self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self.ready.append(handle)
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        at = (when - self._offset) / self._rate
        while self._offset + at * self._rate < when:
            at = nextafter(at, inf)
        self.timeline.at(at, self._due, timer)
        return timer

    def _due(self, timer: asyncio.TimerHandle) -> None:
        if self.alive and not timer._cancelled:  # type: ignore[attr-defined]
            self.ready.append(timer)

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Coroutine[Any, Any, Any], *, name: object = None, context: Any = None
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, context=context)
        self._tasks.append(task)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self.alive:
            self.complaints.append(f"{context.get('message')}: {context.get('exception')!r}")

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return self.alive

    def is_closed(self) -> bool:
        return False

    def _timer_handle_cancelled(self, timer: asyncio.TimerHandle) -> None:
        """Leave it where it is: it is looked at when its time comes."""


def _settle(future: asyncio.Future[Any], answer: object) -> None:
    if future.done():
        return
    if isinstance(answer, BaseException):
        future.set_exception(answer)
    else:
        future.set_result(answer)


class _Graveyard(Timeline):
    """Where nothing happens any more."""

    def at(self, when: float, do: Callable[..., Any], *args: Any) -> None:
        """Forget it."""


_GRAVEYARD = _Graveyard(0)
