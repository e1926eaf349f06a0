"""A worker whose clock is put back by an hour while it works: `python -m tests.faults.set_back WORKER_ARGUMENTS`."""

import os
import sys
import time
from datetime import datetime, timedelta

from store.records import utc_now
from streams.app import main

AFTER_S = 6.0
_STARTED_S = time.monotonic()


def clock() -> datetime:
    """The time; from `AFTER_S` after the start, that of an hour before."""
    is_set_back = time.monotonic() - _STARTED_S > AFTER_S
    return utc_now() - timedelta(hours=1) if is_set_back else utc_now()


if __name__ == "__main__":
    code = main(sys.argv[1:], clock)
    sys.stdout.flush()
    os._exit(code)
