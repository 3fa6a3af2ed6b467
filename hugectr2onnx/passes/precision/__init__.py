"""Choose the products that are computed in bytes, and turn their weights into bytes."""
