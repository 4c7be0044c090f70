"""Examples and facts to claims to prompts; the wording is data."""
