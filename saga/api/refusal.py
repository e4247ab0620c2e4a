"""A request that is not done, and what its client is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from saga.errors import SagaError


class Refusal(SagaError):
    """Raised by handlers; becomes a problem document with these members."""

    def __init__(
        self, status: int, kind: str, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail = status, kind, detail
        self.headers, self.members = headers, members
