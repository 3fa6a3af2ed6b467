"""The report of one model file: what it is, what was done to it, what is proven, how fast it is."""
