"""Settings of the whole suite: Hypothesis runs the same examples everywhere; `make check` searches wider."""

import os
import signal

from hypothesis import settings

if "PYTEST_XDIST_WORKER" in os.environ:  # one of two processes that share the cores: torch's threads would spin
    os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("suite", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("SYCO_HYPOTHESIS_PROFILE", "suite"))

# What a script starts in the background ignores Ctrl-C, and so would every test of it.
signal.signal(signal.SIGINT, signal.default_int_handler)
