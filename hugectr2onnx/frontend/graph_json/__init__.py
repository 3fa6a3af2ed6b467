"""HugeCTR's graph JSON, every generation of it, as clauses."""
