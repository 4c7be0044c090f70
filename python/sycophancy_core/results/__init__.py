"""What a stage found: frozen tables that print, plot, save and load."""
