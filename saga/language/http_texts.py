"""What HTTP allows in headers and paths, which headers a definition does not set, what statuses are called."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final

#: The name of a header (RFC 9110, section 5.6.2).
TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
#: What a header's value may not hold (RFC 9110, section 5.5): control characters other than the tab.
CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
#: A segment that a path is shortened by (RFC 3986, section 5.2.4), however it is written.
DOTS: Final = re.compile(r"(?:\.|%2[eE]){1,2}")

_OWN: Final = re.compile(
    r"host|content-.*|transfer-encoding|idempotency-key|saga-.*|traceparent|tracestate", re.IGNORECASE
)
_OF_CONNECTION: Final = re.compile(
    r"connection|keep-alive|te|trailer|upgrade|expect|accept-encoding|proxy-.*", re.IGNORECASE
)

#: Up to 3.12 Python calls these as earlier RFCs did; what is said in journals and answers is the same on all.
_RENAMED: Final = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}


def is_own(header: str) -> bool:
    """Return whether the coordinator sets the header itself, so that a definition may not."""
    return _OWN.fullmatch(header) is not None


def is_of_connection(header: str) -> bool:
    """Return whether the header is about the connection, which is the coordinator's affair: it is not sent."""
    return _OF_CONNECTION.fullmatch(header) is not None


def phrase(status: int) -> str:
    """Return what a status is called (RFC 9110, section 15); the empty text for one without a name."""
    try:
        return _RENAMED.get(status) or HTTPStatus(status).phrase
    except ValueError:
        return ""
