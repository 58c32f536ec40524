"""Optimizers, parameter groups, schedules and frozen parts, and their exact resume."""
