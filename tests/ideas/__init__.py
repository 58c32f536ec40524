"""Ideas that the project did not foresee, in a package of their own: each is a module and a YAML."""
