"""What a language model holds: a transformers module, or the files that one is made of when it is asked for."""
