"""Training rows to tuned weights: mix, overlap, adapters, loop, curve, organisms."""
