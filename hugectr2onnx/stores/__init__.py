"""Embedding tables outside the model: the dense part as ONNX, the rows in a store, and the client between them."""
