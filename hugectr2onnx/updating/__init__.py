"""The next snapshot of a model that was compiled before: `update`."""
