"""Passes that rewrite sums, products and activations of any model."""
