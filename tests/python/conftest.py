"""Settings of the whole suite: Hypothesis runs the same examples everywhere; `make check` searches wider."""

import os
import signal

from hypothesis import settings

settings.register_profile("suite", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("SYCO_HYPOTHESIS_PROFILE", "suite"))

# What a script starts in the background ignores Ctrl-C, and so would every test of it.
signal.signal(signal.SIGINT, signal.default_int_handler)
