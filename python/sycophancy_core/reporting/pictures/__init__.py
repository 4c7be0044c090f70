"""Figures, and the gallery of them."""
