"""The steps of a training: loss, batches run over processes, checkpoints."""
