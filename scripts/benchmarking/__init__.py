"""Measure the speed of training, and compare it with other loops and with its limits."""
