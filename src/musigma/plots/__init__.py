"""Plots: tensors in, matplotlib figures out."""
