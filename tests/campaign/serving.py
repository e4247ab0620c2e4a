"""What a forked child runs: the server, as ``saga serve`` runs it.

Only this module of the campaign imports the coordinator, and only the fork server imports this module.
"""

from __future__ import annotations

import os

from saga.server import run
from saga.settings import load_settings


def serve() -> int:
    """Run the server with the settings of the environment until it is stopped; return its exit code."""
    return run(load_settings(os.environ))
