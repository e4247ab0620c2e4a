"""What is said to MongoDB and what it answers, in no driver's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

Document: TypeAlias = dict[str, Any]
Where: TypeAlias = Mapping[str, Any]
#: Fields with 1 for rising and -1 for falling.
Order: TypeAlias = Sequence[tuple[str, int]]

#: Codes of MongoDB, and one of FerretDB, for a document that is too large.
TOO_LARGE: Final = frozenset({10334, 17280, 17419, 17420, 285999133})


@dataclass(frozen=True, slots=True)
class Change:
    """Change the first document that is so."""

    where: Where
    update: Any


@dataclass(frozen=True, slots=True)
class Insert:
    """Add a document."""

    document: Document


Operation: TypeAlias = Change | Insert


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said of operations that were sent together."""

    #: Documents that were found or added.
    done: int
    #: The code for each that it could not do, by the operation's place.
    errors: Mapping[int, int] = field(default_factory=dict)
    #: Done, but not by as many servers as was asked for.
    doubtful: bool = False

    def too_large(self, place: int) -> bool:
        """Return whether this operation would have made a document that is too large."""
        return self.errors.get(place) in TOO_LARGE


@dataclass(frozen=True, slots=True)
class Index:
    """An index a collection is to have; ``where`` makes it one of some documents only."""

    name: str
    keys: Order
    where: Where | None = None
