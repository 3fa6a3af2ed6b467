"""Passes that remove what is not needed and bring the rest into one form."""
