"""Metrics of answers alone: sampled ones, and those that users push back on."""
