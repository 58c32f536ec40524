"""Ranges of settings, declared in annotations and checked in every call and every config."""

import re
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
"""Makes pydantic check the fields of its dataclasses like the arguments of `checked`."""

checked = validate_call(config=CHECKED)
"""Decorator of a constructor that checks its arguments against their annotations.

An argument annotated with a class unknown to pydantic must be an instance of it. A ValidationError,
which is a ValueError, names all wrong arguments at once.
"""

WORDS = {
    r"Input should be (?=.)": "should be ",
    r"should be a valid integer.*": "should be a whole number",
    r"should be a valid number": "should be a number",
    r"should be a valid string": "should be text",
    r"should be a valid boolean": "should be true or false",
    r"should be a valid (list|tuple|array)": "should be a list, as in [1, 2]",
    r"should be (an object|a valid dictionary)": "should hold name: value",
    r"should be greater than or equal to (\S+)": r"should be \1 or more",
    r"should be less than or equal to (\S+)": r"should be \1 or less",
    r"should be greater than (\S+)": r"should be more than \1",
    r"String should have at least 1 character": "is empty; write a value, or leave it out",
    r"\w+ should have at (least|most) (\d+) (item|character)s?.*": r"should have at \1 \2 \3s",
    r"Field required": "is missing",
    r"Value error, ": "",
}


def in_our_words(message: str) -> str:
    """Reword pydantic's message about a value for the author of a config."""
    for pattern, replacement in WORDS.items():
        message = re.sub(f"^{pattern}", replacement, message)
    return message
