"""Many runs: going on with a sweep, collecting what it gave, reporting on it."""
