"""The operations, a module per family. Each op is one card: what comes out, what it means, how ONNX spells it."""
