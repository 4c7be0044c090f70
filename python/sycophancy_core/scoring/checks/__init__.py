"""What is checked before a model is scored: its limits, its config, the engine that stands for it."""
