"""What goes to the Hugging Face hub: cards that say what a thing is, and uploads of it."""
