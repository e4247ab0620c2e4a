"""``saga demo``: a coordinator, five participants, one booking that completes and one that is undone."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from saga.cli import output
from saga.cli.failures import Exit, Unreachable, end
from saga.cli.follow import Saga, follow
from saga.cli.narrate import Entry, tell
from saga.cli.output import clean

if TYPE_CHECKING:
    import subprocess

    from saga.cli.http import Api

#: Signals that end the demo like Ctrl-C does.
_ENDING = (signal.SIGTERM, signal.SIGHUP)
#: Seconds between two looks at whether everybody is still there.
_LOOK = 0.5


@dataclass(frozen=True, slots=True)
class Booking:
    """One booking of the demo, and how it has to end."""

    title: str
    card: str
    status: str
    #: Participant → what its ledger has to hold.
    holds: Mapping[str, Mapping[str, int]]

    @property
    def input(self) -> Mapping[str, Any]:
        """The input of its saga."""
        traveller = {"email": "ann@example.com"}
        return {
            "traveller": traveller,
            "flight": "LH400",
            "hotel": "Astoria",
            "card": self.card,
            "amount": 225,
        }


BOOKINGS = (
    Booking(
        "A booking that completes",
        "4242424242424242",
        "completed",
        {
            "flights": {"reservation held": 1, "ticket issued": 1},
            "hotels": {"reservation held": 1},
            "payments": {"payment charged": 1},
        },
    ),
    Booking(
        "A booking whose card is declined, so that all before it is undone",
        "4000000000000002",
        "compensated",
        {"flights": {"reservation released": 1}, "hotels": {"reservation released": 1}},
    ),
)


@click.command()
@click.option(
    "--once", is_flag=True, help="End after the two bookings; exit code 0 if both ended as they should."
)
def demo(*, once: bool) -> None:
    """Book two flights: one booking completes, one is undone.

    Starts a coordinator and five participants on this machine, with a store that goes with them. Then it stays
    up, so that you can try more, until Ctrl-C.
    """
    with ExitStack() as stack:
        stack.enter_context(_ending())
        stage = _set_up(stack)
        good = [stage.play(number, booking) for number, booking in enumerate(BOOKINGS, start=1)]
        output.line()
        if not once:
            stage.stay()
    end(Exit.YES if all(good) else Exit.NO)


@contextmanager
def _ending() -> Iterator[None]:
    """Make the signals that end a process unwind it; while it unwinds, none interrupts that."""

    def unwind(number: int, _frame: object) -> None:
        raise click.exceptions.Exit(128 + number)

    before = {number: signal.signal(number, unwind) for number in _ENDING}
    # A shell has a program it starts behind ``&`` ignore Ctrl-C; here it is the way to stop.
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _set_up(stack: ExitStack) -> Stage:
    import tempfile

    from saga.cli.demo_processes import coordinator, example, participants

    began = time.monotonic()
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="saga_demo_")))
    stack.callback(_undisturbed)
    output.line("Starting five participants and a coordinator …")
    fleet, services = stack.enter_context(participants(folder))
    stack.callback(_undisturbed)
    server, api = stack.enter_context(coordinator(folder, services))
    stack.callback(_undisturbed)
    stage = Stage(api, services, {"participants": fleet, "coordinator": server})
    stage.introduce(time.monotonic() - began)
    definition = (example() / "flight_booking.yaml").read_bytes()
    headers = {"Content-Type": "application/yaml"}
    api.send("PUT", "/v1/definitions/flight_booking", definition, headers=headers)
    return stage


def _undisturbed() -> None:
    """Let nothing interrupt the stopping of what was started."""
    for number in (signal.SIGINT, *_ENDING):
        signal.signal(number, signal.SIG_IGN)


@dataclass(frozen=True, slots=True)
class Stage:
    """What is running, and how the demo speaks of it."""

    api: Api
    #: Participant → address.
    services: Mapping[str, str]
    processes: Mapping[str, subprocess.Popen[str]]

    def introduce(self, seconds: float) -> None:
        """Say who is there."""
        for name, address in {"coordinator": self.api.base, **self.services}.items():
            output.line(f"  {name:<12} {address}")
        output.line(f"ready in {seconds:.1f} s")

    def play(self, number: int, booking: Booking) -> bool:
        """Make a booking, telling every step; return whether it ended as it should."""
        output.line()
        output.line(f"{number}. {booking.title}", bold=True)
        body = {"definition": "flight_booking", "input": booking.input}
        saga_id = self.api.post("/v1/sagas", body).body["id"]
        output.line(f"   saga {clean(saga_id)}, card {booking.card}")
        saga = follow(self.api, saga_id, self._tell)
        return self._judge(saga, booking)

    def _tell(self, saga: Saga, entries: Sequence[Entry]) -> None:
        for entry in entries:
            # An attempt that is the last of its step: the step's own entry says the same.
            if entry.get("kind") != "attempt_refused" or entry.get("next_at"):
                self._tell_entry(saga["id"], entry)

    def _tell_entry(self, saga_id: str, entry: Entry) -> None:
        told = tell(entry)
        step = clean(entry.get("step") or "")
        left = self._effect(saga_id, entry)
        text = f"   {told.mark} {step:<15} {told.text}" if step else f"   {told.mark} {told.text}"
        output.line(f"{text:<46} {left}" if left else text, told.colour)

    def _effect(self, saga_id: str, entry: Entry) -> str:
        """Return what a step changed at its participant, as the ledger there has it."""
        phase = {"step_succeeded": "action", "compensation_undone": "compensation"}.get(
            str(entry.get("kind"))
        )
        for name in self.services if phase is not None else ():
            for effect in self._ledger(name, saga_id, "effects"):
                if effect["step"] == entry.get("step") and effect["phase"] == phase:
                    return f"{name}: {effect['kind']} {effect['state']}"
        return ""

    def _ledger(self, service: str, saga_id: str, section: str) -> Any:
        from saga.cli.http import Api

        return Api(self.services[service], None).get("/ledger", saga=saga_id, only=section)[section]

    def _judge(self, saga: Saga, booking: Booking) -> bool:
        """Say how it ended and what every ledger holds now; return whether that is as it should be."""
        good: bool = saga["status"] == booking.status
        for name in self.services:
            holds = self._ledger(name, saga["id"], "summary")["items"]
            good = good and holds == booking.holds.get(name, {})
            said = ", ".join(f"{count} {what}" for what, count in holds.items()) or "nothing"
            output.line(f"   ledger of {name + ':':<9} {said}")
        ticket = (saga.get("output") or {}).get("ticket")
        ended = saga["status"] + (f", ticket {clean(ticket)}" if ticket else "")
        wanted = "as it should" if good else f"otherwise than it should, which is {booking.status}"
        output.line(f"   ended {wanted}: {ended}", "green" if good else "red", bold=True)
        return good

    def stay(self) -> None:
        """Say what to try next, and wait for Ctrl-C."""
        try:
            for text in self._next():
                output.line(text)
            while True:
                self._look()
                time.sleep(_LOOK)
        except KeyboardInterrupt:
            output.line("\nstopping …")

    def _next(self) -> Iterator[str]:
        base = self.api.base
        yield f"HTTP API: {base}/v1/sagas"
        yield "Try next, in another terminal:"
        yield f"  export SAGA_URL={base}"
        yield "  saga list"
        yield (
            "  saga start flight_booking --watch -f traveller.email=bob@example.com -f flight=LH400"
            " -f card=4242424242424242 -f amount=225"
        )
        knobs = '{"rules": [{"on": "charge", "fault": "lose_answer", "next": 1}]}'
        yield f"  curl -X PUT {self.services['payments']}/knobs -d '{knobs}'   # the next charge is made, its answer lost"
        yield "Ctrl-C stops everything, and removes it."

    def _look(self) -> None:
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise Unreachable(f"{name} ended, exit code {process.returncode}")


commands: Mapping[str, click.Command] = {"demo": demo}
