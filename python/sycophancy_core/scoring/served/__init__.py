"""Language models that a server holds: how it is asked, whether its answers can be trusted, and what they say."""
