"""Passes that choose how keys find their rows, and in which form a look-up is emitted."""
