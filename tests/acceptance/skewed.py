"""``saga`` on a machine whose clock is wrong by ``CLOCK_SKEW`` seconds: ``python -m tests.acceptance.skewed serve``."""

from __future__ import annotations

import os
import time

_right = time.time
time.time = lambda: _right() + float(os.environ["CLOCK_SKEW"])

from saga.cli import main  # noqa: E402 - whatever asks for the time asks for this one

if __name__ == "__main__":
    main()
