"""The cures by training: on rows with a target, on pairs of answers, and on activations."""
