"""A language model, native or through transformers, and log-probabilities of answer choices."""
