"""Posteriors q(z|x), and the heads that predict them."""

from typing import Literal

from musigma.models.posteriors.head import Head, HeadRecipe
from musigma.models.posteriors.normal import NormalHead, NormalPosterior
from musigma.models.posteriors.point import PointHead, PointPosterior

PosteriorName = Literal["normal", "point"]

NAMED_HEADS: dict[PosteriorName, type[Head]] = {"normal": NormalHead, "point": PointHead}
"""The heads that configs choose by a name; others are chosen by a `_target_`."""

__all__ = [
    "NAMED_HEADS",
    "Head",
    "HeadRecipe",
    "NormalHead",
    "NormalPosterior",
    "PointHead",
    "PointPosterior",
    "PosteriorName",
]
