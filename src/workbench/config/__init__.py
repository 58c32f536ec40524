"""Composing, checking and instantiating configs."""
