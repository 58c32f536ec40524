"""The set that codes lie in."""

ANY_NUMBERS = "any numbers"
"""ℝᵈ. Densities on another set, such as a sphere, compare with none on this one."""
