"""Many runs: jobs of a sweep, their plan, and the report on their metrics."""
