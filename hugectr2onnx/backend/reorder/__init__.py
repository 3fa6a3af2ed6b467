"""A table's rows in another order, at the speed of the disk."""
