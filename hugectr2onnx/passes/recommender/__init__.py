"""Passes that know the parts of recommenders: cross networks, factorization machines, attention, experts."""
