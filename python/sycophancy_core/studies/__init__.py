"""The pipeline many times: the variants of a sweep, several models, the demo."""
