"""A request that is not done, and what its client is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from saga.api.problem_types import PROBLEM_TYPES
from saga.errors import SagaError


class Refusal(SagaError):
    """Raised by handlers; becomes a problem document with these members.

    Its status is that of its kind, unless another is given.
    """

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.status = PROBLEM_TYPES[kind].status if status is None else status
        self.kind, self.detail, self.headers, self.members = kind, detail, headers, members
