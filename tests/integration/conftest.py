"""Which event loops the tests of a module run on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

#: Modules that depend on what a loop's connections do are run on each that ``saga serve`` may run on.
_ON_EVERY_LOOP = {"test_invoker", "test_api_hostile"}


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Return the loops of a test, by name."""
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if item.path.stem in _ON_EVERY_LOOP:
        loops["uvloop"] = uvloop.new_event_loop
    return loops
