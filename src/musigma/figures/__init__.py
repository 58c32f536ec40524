"""What a person looks at: tensors in, pictures out."""

from musigma.figures.reconstructions import pair_rows

__all__ = ["pair_rows"]
