"""Every type of problem there is: the word programs look at, the status it comes with, and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class ProblemType(NamedTuple):
    """One type of problem."""

    status: int
    #: For a person, whatever the case at hand.
    says: str


_KINDS: Final[Mapping[int, Mapping[str, str]]] = {
    400: {
        "malformed-request": "The request is not HTTP as it should be.",
        "malformed-body": "The body is no JSON, or was cut off.",
    },
    401: {"unauthorized": "A bearer token is needed, and none or another one was given."},
    403: {
        "host-not-allowed": "The coordinator does not go by the Host that was asked for.",
        "origin-not-allowed": "A page of another origin may not write.",
    },
    404: {
        "not-found": "There is nothing at this address.",
        "saga-unknown": "There is no saga with this id.",
        "definition-unknown": "There is no definition of this name.",
        "definition-deleted": "The definition was deleted; its versions can still be read by number.",
        "version-unknown": "The definition has no such version.",
        "signal-unknown": "The saga's definition has no signal of this name.",
        "callback-unknown": "This is no callback of this coordinator.",
    },
    405: {"method-not-allowed": "This method means nothing here; `Allow` says which do."},
    408: {"too-slow": "The body has not come in time."},
    409: {
        "saga-compensated": "The saga that was waited for is undone; `reason` and `saga` say more.",
        "saga-abandoned": "The saga that was waited for was ended by a person, with something left undone.",
        "saga-not-ended": "Only a saga that has ended can be run again.",
        "saga-ended": "The saga has ended.",
        "saga-parked": "The saga is parked: it needs a decision.",
        "saga-paused": "The saga is paused: nothing is sent.",
        "pivot-passed": "The pivot is done: the saga only goes forward.",
        "pivot-invoked": "The pivot may be taking effect right now.",
        "pivot": "The pivot's action cannot be skipped.",
        "step-missing": "The command needs a step.",
        "step-unknown": "The saga has no such step.",
        "outcome-missing": "The command needs an outcome.",
        "nothing-to-retry": "Nothing is parked or waits for its next attempt.",
        "not-skippable": "The step cannot be skipped as it is.",
        "not-parked": "Only what is parked can be resolved.",
        "not-refused": "The step has succeeded.",
        "size": "The output is over its limit.",
        "outcome-stands": "Another outcome was reported before, and stands.",
        "journal-unreadable": "The saga's journal or its definition is damaged, or of a later release.",
    },
    410: {"too-late": "The saga went another way; what was said is recorded."},
    413: {"too-large": "The body is over its limit."},
    415: {"unsupported-media-type": "The body is of a type, character set or encoding that is not taken."},
    417: {"expectation-failed": "Only `100-continue` can be expected."},
    422: {
        "parameter-invalid": "A parameter is unknown, or not what it must be.",
        "request-invalid": "The body or a header is not what it must be.",
        "definition-invalid": "The definition has the problems listed.",
        "not-yet-executed": "It is sound, but asks for what only a later release does.",
        "input-invalid": "The input does not fit the definition's schema.",
        "start-key-reused": "This key or id belongs to a start with another body.",
    },
    429: {
        "too-busy": "Too many starts wait: ask again.",
        "inbox-full": "Too many messages wait for this saga: ask again.",
        "signals-full": "Too many signals of this name wait already.",
    },
    500: {
        "internal": "The coordinator failed; its log says why, under the Request-Id.",
    },
    503: {
        "not-judged": "The saga's journal cannot be read now, so that nothing is recorded: ask again later.",
        "not-ready": "The coordinator takes no work; `detail` says why.",
        "stopping": "The coordinator is being stopped.",
        "store-unavailable": "The store cannot be reached or is full: nothing was written.",
        "store-unknown": "The store did not say whether this was written: look, or ask again.",
        "start-unknown": "Whether the saga was started is not known: ask again under the same key.",
    },
}  # fmt: skip

#: Every type, by its word.
PROBLEM_TYPES: Final[Mapping[str, ProblemType]] = {
    kind: ProblemType(status, says) for status, kinds in _KINDS.items() for kind, says in kinds.items()
}
