"""Measurements to estimates with honest intervals; the catalogue of metrics."""
