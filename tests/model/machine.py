"""The story of a coordinator as Hypothesis tells it: whatever may happen, in any order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.model.starting import DOCUMENTS
from tests.model.story import Story
from tests.model.wire import ANSWERS, POLLED

T = TypeVar("T")

#: Sagas of one story.
MOST = 4
#: Which of the things there are: the rest of a division.
PICK = st.integers(0, 11)
NAMES = st.sampled_from(sorted(DOCUMENTS))
SPANS = st.sampled_from([0.05, 0.15, 0.4, 1.2, 4.0, 12.0, 40.0])
#: Participants mostly do as asked.
WORDS = st.sampled_from(["yes", "yes", "yes", "verdict", "500", *ANSWERS])
KEYS = st.sampled_from(["k1", "k2"])


def _one(pick: int, choices: Sequence[T]) -> T:
    return choices[pick % len(choices)]


class Control(RuleBasedStateMachine):
    """A coordinator to which anything may be done at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.story = Story()

    @initialize(names=st.lists(NAMES, min_size=1, max_size=2, unique=True))
    def begin(self, names: list[str]) -> None:
        """Store definitions, and start a saga of each."""
        for name in names:
            self.story.put(name)
            self.story.start(name)

    # Every rule may always be drawn, whatever there is: what is drawn depends on nothing but the draws.

    def _saga(self, pick: int) -> str:
        return _one(pick, list(self.story.sagas))

    def _step(self, saga_id: str, pick: int) -> str:
        names = [step["name"] for step in self.story.sagas[saga_id].saga["steps"]]
        return _one(pick, [*names, *names, *names, "nowhere"])

    # ----------------------------------------------------------------- definitions, starts

    @rule(name=NAMES, what=st.sampled_from(["again", "other", "delete"]))
    def define(self, name: str, what: str) -> None:
        """Store a definition once more, or another version, or delete it."""
        if what == "delete":
            self.story.delete(name)
        else:
            self.story.put(name, other=what == "other")

    @rule(name=NAMES, key=st.none() | KEYS, variant=st.integers(0, 1))
    def start(self, name: str, key: str | None, variant: int) -> None:
        """Start a saga, perhaps again, perhaps with another body."""
        if key in self.story.keys or len(self.story.sagas) < MOST:
            self.story.start(name, key, variant)

    @rule(pick=PICK, what=st.sampled_from(["start again", "rerun"]))
    def again(self, pick: int, what: str) -> None:
        """Start once more what was started under a key, or one like another."""
        if what == "rerun" and len(self.story.sagas) < MOST:
            self.story.rerun(self._saga(pick))
        elif self.story.keys:
            key = _one(pick, sorted(self.story.keys))
            body, _ = self.story.keys[key]
            self.story.start(body["definition"], key, body["input"]["variant"])

    # ----------------------------------------------------------------- commands

    @rule(name=st.sampled_from(["pause", "pause", "resume", "resume", "cancel", "retry"]), pick=PICK)
    def command(self, name: str, pick: int) -> None:
        """Command something of a saga as a whole."""
        self.story.command(self._saga(pick), name)

    @rule(name=st.sampled_from(["retry", "skip", "succeeded", "refused", "undone"]), pick=PICK, step=PICK)
    def decide(self, name: str, pick: int, step: int) -> None:
        """Decide about a step."""
        saga_id = self._saga(pick)
        body: dict[str, Any] = {"step": self._step(saga_id, step)}
        if name not in ("retry", "skip"):
            body |= {"outcome": name} | ({"output": {"by": "hand"}} if name == "succeeded" else {})
            name = "resolve"
        self.story.command(saga_id, name, **body)

    # ----------------------------------------------------------------- participants

    @rule(pick=PICK, word=WORDS)
    def answer(self, pick: int, word: str) -> None:
        """Answer a request."""
        if self.story.held:
            self.story.answer(_one(pick, self.story.held), word)

    @rule(words=st.lists(WORDS, min_size=2, max_size=6))
    def answers(self, words: list[str]) -> None:
        """Answer several requests, one after the other, with as much time between them as the next one needs."""
        for word in words:
            if not self.story.held:
                self.story.pass_time(1.2)
            if self.story.held:
                self.story.answer(self.story.held[0], word)
                self.story.check()

    @rule()
    def all_answer(self) -> None:
        """Let every participant do as asked."""
        for held in self.story.held:
            self.story.answer(held, "yes")

    @rule(word=st.sampled_from(sorted(POLLED)))
    def poll(self, word: str) -> None:
        """Answer a poll, if there is one."""
        self.story.poll(word)

    @rule(
        pick=PICK,
        outcome=st.sampled_from(["succeeded", "refused", "altered"]),
        value=st.sampled_from([None, 1]),
    )
    def callback(self, pick: int, outcome: str, value: int | None) -> None:
        """Call back, at a time that may be right, and say it again; or with a token that is not ours."""
        if not self.story.living.seen.callbacks:
            return
        about = _one(pick, sorted(self.story.living.seen.callbacks))
        if outcome == "altered":
            self.story.wrong_callback(about)
            return
        first = self.story.callback(about, outcome, value)
        again = self.story.callback(about, outcome, value)
        assert first.status == again.status, f"{about} {outcome}: first {first.status}, then {again.text}"

    # ----------------------------------------------------------------- time and death

    @rule(seconds=SPANS)
    def time_passes(self, seconds: float) -> None:
        """Let time pass."""
        self.story.pass_time(seconds)

    @rule(how=st.sampled_from(["stops", "dies"]))
    def ends(self, how: str) -> None:
        """Stop it in good order, or drop it, and start another on what the file holds."""
        if how == "stops":
            self.story.restart()
        else:
            self.story.crash()

    @rule(
        name=NAMES,
        pick=PICK,
        what=st.sampled_from(["start", "pause", "cancel", "abandon"]),
        calls=st.integers(0, 8),
    )
    def ends_while(self, name: str, pick: int, what: str, calls: int) -> None:
        """Drop it while it takes a start or a command."""
        if what == "start":
            self.story.crash_at_start(calls, name, "k1", pick % 2)
        else:
            self.story.crash_at_command(calls, self._saga(pick), what)

    @rule(pick=PICK, what=st.sampled_from(["abandon", "cannot decide", "cannot decide"]))
    def rarely(self, pick: int, what: str) -> None:
        """Abandon a saga; or let the coordinator fail at one, until it can again."""
        if what == "abandon":
            self.story.command(self._saga(pick), "abandon")
        else:
            self.story.undecidable ^= {self._saga(pick)}

    # ----------------------------------------------------------------- what must hold

    @invariant()
    def what_is_shown_is_what_is_recorded(self) -> None:
        """After each step, for every acknowledged saga."""
        self.story.check()

    def teardown(self) -> None:
        """Let everything end."""
        try:
            self.story.finish()
        finally:
            self.story.close()
