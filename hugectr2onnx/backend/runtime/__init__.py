"""onnxruntime: sessions, memory, and the comparison with the reference."""
