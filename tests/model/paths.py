"""Paths: one saga's story in words, so that what hardly ever happens by chance can be told again.

``two: a yes, b verdict, undo a 425, wait 1.2`` starts a saga of the definition ``two`` and goes on as it says.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.model.expected import ENDED
from tests.model.starting import DOCUMENTS
from tests.model.story import Story
from tests.model.wire import ANSWERS, POLLED
from tests.visits import Transition

#: Found by a search, and written by it.
FILE = Path(__file__).parent / "paths.txt"
#: Written by hand.
RULES = Path(__file__).parent / "rules.txt"
#: Actions of one path at most.
LONGEST = 14
_ON_SAGA = ("pause", "resume", "cancel", "retry", "abandon")
_SPANS = ("0.15", "1.2", "4", "12")


class PathOf(NamedTuple):
    """What happens to one saga."""

    definition: str
    actions: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.definition}: {', '.join(self.actions)}"


def kept() -> list[PathOf]:
    """Return the paths that were found."""
    return _read(FILE)


def rules() -> list[PathOf]:
    """Return the paths that bring a rule to bear."""
    return _read(RULES)


def _read(file: Path) -> list[PathOf]:
    lines = file.read_text().splitlines() if file.exists() else []
    return [_path(line) for line in lines if line and not line.startswith("#")]


def _path(line: str) -> PathOf:
    definition, _, actions = line.partition(": ")
    return PathOf(definition, tuple(actions.split(", ")) if actions else ())


# --------------------------------------------------------------------------- telling one


def tell(story: Story, path: PathOf) -> set[Transition]:
    """Let it happen, and return the transitions that were taken."""
    saga_id = begin(story, path.definition)
    for action in path.actions:
        do(story, saga_id, action)
        story.check()
    return end(story)


def begin(story: Story, definition: str) -> str:
    """Start a saga, the only one of the story."""
    if definition not in story.versions:
        story.put(definition)
    story.sagas.clear()
    story.log = [definition]
    story.told += 1
    saga_id = story.start(definition)
    assert saga_id is not None
    story.check()
    return saga_id


def end(story: Story) -> set[Transition]:
    """Let the saga end, and return the transitions that were taken before."""
    taken = set(story.taken)
    story.finish()
    for saga_id, known in tuple(story.sagas.items()):
        if known.status not in ENDED:
            story.command(saga_id, "abandon")
    story.taken.clear()
    story.sagas.clear()
    return taken


def do(story: Story, saga_id: str, action: str) -> None:
    """Let one thing happen."""
    story.log.append(action)
    word, _, rest = action.partition(" ")
    if word in _ON_SAGA:
        body = {"step": rest} if rest else {}
        story.command(saga_id, word, **body)
    elif word in _OTHERS:
        _OTHERS[word](story, saga_id, rest)
    else:
        story.answered(rest, word, "action")


def _resolve(story: Story, saga_id: str, rest: str) -> None:
    step, outcome = rest.split(" ")
    story.command(saga_id, "resolve", step=step, outcome=outcome)


def _back(story: Story, saga_id: str, rest: str) -> None:
    *undo, step, outcome = rest.split(" ")
    about = (saga_id, step, "compensation" if undo else "action")
    if about in story.living.seen.callbacks:
        story.callback(about, outcome)


def _undo(story: Story, _saga_id: str, rest: str) -> None:
    step, _, word = rest.partition(" ")
    story.answered(word, step, "compensation")


def _fail(story: Story, saga_id: str, _rest: str) -> None:
    """Park it by a fault of the coordinator's own, which is mended then."""
    story.undecidable.add(saga_id)
    story.wake(saga_id)
    story.undecidable.clear()


_OTHERS = {
    "skip": lambda story, saga_id, rest: story.command(saga_id, "skip", step=rest),
    "resolve": _resolve,
    "undo": _undo,
    "back": _back,
    "ask": lambda story, _saga_id, rest: story.poll(rest),
    "wait": lambda story, _saga_id, rest: story.pass_time(float(rest)),
    "fail": _fail,
    "restart": lambda story, _saga_id, _rest: story.restart(),
    "crash": lambda story, _saga_id, _rest: story.crash(),
}


# --------------------------------------------------------------------------- finding more


def possible(story: Story, saga_id: str) -> list[str]:
    """Return what may happen now."""
    known = story.sagas[saga_id]
    found = [
        f"{'undo ' if held.sent.phase == 'compensation' else ''}{held.sent.step} {word}"
        for held in story.held
        for word in ANSWERS
    ]
    found += [f"wait {span}" for span in _SPANS] + [f"ask {word}" for word in POLLED]
    found += [*_ON_SAGA, "crash", "restart", "fail"]
    for step in known.saga["steps"]:
        name = step["name"]
        found += [f"skip {name}", f"retry {name}"]
        found += [f"resolve {name} {outcome}" for outcome in ("succeeded", "refused", "undone")]
    for _, step, phase in (about for about in story.living.seen.callbacks if about[0] == saga_id):
        undo = "undo " if phase == "compensation" else ""
        found += [f"back {undo}{step} {outcome}" for outcome in ("succeeded", "refused")]
    return found


def search(story: Story, dice: random.Random, known: Iterable[PathOf]) -> tuple[PathOf, set[Transition]]:
    """Go on from a path that is known, or from the beginning; return where that led."""
    # What was found last is new ground; everything else is gone on from now and then.
    own = [*(PathOf(name, ()) for name in DOCUMENTS), *known]
    path = dice.choice(own[-12:] if dice.random() < 0.4 else own)
    saga_id = begin(story, path.definition)
    for action in path.actions:
        do(story, saga_id, action)
        story.check()
    actions = list(path.actions)
    for _ in range(dice.randint(1, 4)):
        if len(actions) >= LONGEST:
            break
        action = dice.choice(possible(story, saga_id))
        actions.append(action)
        do(story, saga_id, action)
        story.check()
    return PathOf(path.definition, tuple(actions)), end(story)


def write(paths: Sequence[PathOf], head: str) -> None:
    """Keep these paths."""
    FILE.write_text(
        "".join(f"# {line}\n" for line in head.splitlines()) + "".join(f"{path}\n" for path in paths)
    )
