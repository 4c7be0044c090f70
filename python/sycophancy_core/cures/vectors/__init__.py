"""The cure by an added vector: how it is made and chosen, its nulls, and where it is added."""
