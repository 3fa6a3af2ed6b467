"""Data that a model is fed with, and the predictions that were recorded with it."""
