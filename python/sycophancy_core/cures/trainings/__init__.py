"""The cures by training: on rows with a target, and on pairs of answers."""
