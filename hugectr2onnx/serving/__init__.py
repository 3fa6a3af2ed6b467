"""Converted models behind servers: one command on this machine, Triton, KServe."""
