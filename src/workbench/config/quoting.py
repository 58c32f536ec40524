"""Quotes that Hydra's grammar needs and a person at a shell does not expect to write."""

import os
import re

PATHS = ("resume", "run", "sweep", "checkpoint", "input", "output")
PATH_WITH_PARENTHESES = re.compile(r"""(?!\w+\()[^"'$]*/[^"'$]*[()][^"'$]*""")
BARE = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^,\[\](){}'"]+""")


def quote(argument: str) -> str:
    """An override as Hydra reads it.

    `resume=a/b=c,d` → `resume='a/b=c,d'`, as run folders have names that are grammar to Hydra, and
    `name=ünï` → `name='ünï'`, as its grammar knows the letters of ASCII alone; likewise a path with
    parentheses. A `~/` after the `=`, which shells leave as it is, is the home folder.
    """
    name, equals, value = argument.partition("=")
    if value.startswith("~/"):
        value = os.path.expanduser(value)
    if name in PATHS and value not in ("", "null") and value[0] not in "[\"'":
        return f"{name}={quoted(value)}"
    if PATH_WITH_PARENTHESES.fullmatch(value):
        return f"{name}={quoted(value)}"
    if value.isascii():
        return f"{name}{equals}{value}"
    return f"{name}{equals}{BARE.sub(_quote_letters, value)}"


def _quote_letters(match: re.Match[str]) -> str:
    text = match[0]
    if text.isascii() or text[0] in "\"'":
        return text
    key, colon, value = text.rpartition(":") if _is_entry(match) else ("", "", text)
    stripped = value.strip()
    return f"{key}{colon}{value.replace(stripped, quoted(stripped))}"


def _is_entry(match: re.Match[str]) -> bool:
    """Whether it stands in a mapping, `{a: b}`."""
    before = match.string[: match.start()]
    return before.count("{") > before.count("}")


def quoted(text: str) -> str:
    """A text in quotes of Hydra's grammar, in which a backslash escapes before a quote alone."""
    return "'{}'".format(re.sub(r"(\\*)('|\Z)", _escaped, text))


def _escaped(match: re.Match[str]) -> str:
    return match[1] * 2 + match[2].replace("'", "\\'")
