"""The fenced code blocks of the README and the guides."""

import re
from typing import NamedTuple


class Block(NamedTuple):
    """A code block; `path` is the file named in the line before it, if there is one."""

    language: str
    text: str
    path: str | None


def blocks(markdown):
    """All fenced blocks of a text, in order."""
    found = re.finditer(
        r"(?:`((?:src|configs)/[\w/.]+)`:\n\n)?^```(\w+)\n(.*?)^```$", markdown, re.DOTALL | re.M
    )
    return [Block(match[2], match[3], match[1]) for match in found]


def write_files(found, root):
    """Write the blocks with a path into a copy of the repository; apply those that are diffs."""
    for block in found:
        if block.path and block.language == "diff":
            (root / block.path).write_text(_patched((root / block.path).read_text(), block.text))
        elif block.path:
            (root / block.path).write_text(block.text)


def commands(found):
    """The lines of all shell blocks, without comments."""
    text = "".join(block.text for block in found if block.language == "bash")
    return [re.sub(r"  +#.*", "", line) for line in re.sub(r" *\\\n *", " ", text).splitlines()]


def _patched(text, diff):
    for hunk in diff.split("@@\n"):
        lines = hunk.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line[0] in " -")
        after = "".join(line[1:] for line in lines if line[0] in " +")
        assert text.count(before) == 1, f"not there, or not once:\n{before}"
        text = text.replace(before, after)
    return text
