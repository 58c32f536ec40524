"""What a setting may be: declared in its annotation, held by every call and by every config."""

from typing import Annotated

from pydantic import ConfigDict, Field, validate_call

Count = Annotated[int, Field(ge=1)]
"""At least one of something."""

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""How much of a term a loss holds."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""A scale or a width."""

Finite = Annotated[float, Field(allow_inf_nan=False)]
"""Any number."""

Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""What NumPy's and torch's generators both take."""

CHECKED = ConfigDict(arbitrary_types_allowed=True, extra="forbid")
"""For pydantic's dataclasses: as `checked`, for classes that are little but their settings."""

checked = validate_call(config=CHECKED)
"""Decorates a constructor whose arguments are held against their annotations.

A class that pydantic does not know is one whose instances are wanted. What does not fit raises
pydantic's ValidationError, a ValueError that names every argument at once.
"""
