"""Metrics of facts: stance and mention."""
