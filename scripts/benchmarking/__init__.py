"""How fast training is, beside what it could be."""
