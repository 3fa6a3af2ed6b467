"""Smaller formats of rows: the bytes they save, the errors they cost, and the search within a quality budget."""
