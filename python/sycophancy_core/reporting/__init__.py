"""Numbers as people read them: sentences, tables, figures, one HTML file."""
