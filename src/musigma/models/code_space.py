"""The name of the usual space of codes."""

REAL_VECTORS = "real vectors"
"""ℝᵈ. Densities on this set and on another, such as a sphere, do not compare."""
