"""Sweeps and searches: their jobs, the plan, and the report that compares the runs."""
