"""What a model is asked: tasks from the literature, or one's own."""
