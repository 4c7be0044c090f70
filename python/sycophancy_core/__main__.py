"""``python -m sycophancy_core``: the command line."""

from sycophancy_core.cli import main

raise SystemExit(main())
