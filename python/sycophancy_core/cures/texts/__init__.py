"""The cures by a text before every prompt, and the model that reads it."""
