"""From IR to ONNX: nodes, tensors, and files that are read back."""
