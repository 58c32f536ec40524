"""Ideas that the project did not foresee: each is a module and a YAML."""
