"""Runs that differ in numbers only, trained as one model."""
