"""Draw a model: its operations by HugeCTR's layers, before or after the passes, or an ONNX file."""
