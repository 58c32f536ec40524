"""Add the quotes that Hydra's grammar needs and that nobody expects to type in a shell."""

import os
import re

PATHS = ("resume", "run", "sweep", "checkpoint", "input", "output")
PATH_WITH_PARENTHESES = re.compile(r"""(?!\w+\()[^"'$]*/[^"'$]*[()][^"'$]*""")
GRAMMAR = re.compile(r"""[=,\[\](){}'"]""")
BARE = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^,\[\](){}'"]+""")


def quote(argument: str) -> str:
    """Quote the value of an override where Hydra's grammar needs it.

    That is the case for paths of run folders, whose names contain `=` and `,`
    (`resume=a/b=c,d` → `resume='a/b=c,d'`), for other paths that exist and hold such signs, for
    paths with parentheses, and for letters beyond ASCII (`name=ünï` → `name='ünï'`). A `~/` at the
    start of the value, which shells do not expand there, is replaced by the home folder, also
    within quotes.
    """
    name, equals, value = argument.partition("=")
    if value[value[:1] in ("'", '"') :].startswith("~/"):
        value = value.replace("~", os.path.expanduser("~"), 1)
    is_path = name in PATHS and value not in ("", "null") and value[0] not in "[\"'"
    exists = GRAMMAR.search(value) and "/" in value and os.path.exists(value)
    if is_path or exists or PATH_WITH_PARENTHESES.fullmatch(value):
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
    """Whether a match lies in a mapping, `{a: b}`."""
    before = match.string[: match.start()]
    return before.count("{") > before.count("}")


def quoted(text: str) -> str:
    """Quote a text for Hydra's grammar, where a backslash escapes only in front of a quote."""
    escaped = re.sub(r"(\\*)('|\Z)", lambda m: m[1] * 2 + m[2].replace("'", "\\'"), text)
    return f"'{escaped}'"
