"""Passes that run last: they produce forms that the other passes do not match."""
