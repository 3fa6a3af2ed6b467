"""Embedding tables as bytes: row formats, key indexes, and reading them in pieces. It knows no model and no graph."""
