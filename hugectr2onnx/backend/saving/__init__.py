"""Writing a model: its files appear together or not at all."""
