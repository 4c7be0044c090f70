"""Answers in words: sampled, and read by rules that are written down."""
