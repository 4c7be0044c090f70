"""Formats of single files: YAML, tensors."""
