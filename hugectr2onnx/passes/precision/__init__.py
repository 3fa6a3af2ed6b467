"""Which products are computed in bytes, and their weights as bytes."""
