"""From a command line to jobs: composing them, and checking all of them before one starts."""
