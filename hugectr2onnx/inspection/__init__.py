"""`inspect`: what a finished ONNX file holds."""
