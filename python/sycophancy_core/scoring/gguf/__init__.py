"""GGUF files: read by this package where it knows the family and the tokenizer, otherwise by transformers."""
