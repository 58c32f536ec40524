"""What the scripts do with trained runs."""
