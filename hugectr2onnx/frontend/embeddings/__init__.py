"""Embedding layers and EmbeddingCollections as look-ups of the IR."""
