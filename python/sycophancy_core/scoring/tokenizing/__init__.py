"""A checkpoint's tokenizer and chat template, as transformers has them, on the package tokenizers alone."""
