"""Long work that loses nothing: complete files, digests, journal, run folder, progress, Ctrl-C."""
