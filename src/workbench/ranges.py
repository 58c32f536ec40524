"""Ranges of settings, declared in annotations and checked in every call and every config."""

from typing import Annotated

from pydantic import ConfigDict, Field, validate_call

Count = Annotated[int, Field(ge=1)]
"""At least one of something."""

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""The weight of a term in a loss."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""A scale or a width."""

Finite = Annotated[float, Field(allow_inf_nan=False)]
"""Any number."""

Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""A seed for NumPy's and torch's generators alike."""

CHECKED = ConfigDict(arbitrary_types_allowed=True, extra="forbid")
"""For pydantic's dataclasses, whose arguments it checks like those of `checked`."""

checked = validate_call(config=CHECKED)
"""Decorates a constructor whose arguments are checked against their annotations.

For a class that pydantic does not know it wants instances. Otherwise pydantic's ValidationError,
a ValueError, names every wrong argument at once.
"""
