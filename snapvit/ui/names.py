"""Names that people gave to folders, classes and files, shown as they were typed."""

from __future__ import annotations

import re

from snapvit.figures.names import shortened

__all__ = ["as_markdown", "shortened"]

# What markdown reads, a sign of a list or heading at the beginning alone, and no underscore within a word.
SPECIAL = r"[\\`*{}\[\]<>$~|&!]|(?<![^\W_])_|_(?![^\W_])|^[-+#=]|(?<=^\d)[.)]|(?<=^\d\d)[.)]|:"
JOINER = "\u2060"  # takes no room and is no place for a line to break


def as_markdown(text: str) -> str:
    """`text` within markdown, where it reads as typed: nothing in it is emphasis, mathematics, a link or a colour.

    Streamlit turns `:name:`, addresses and arrows into something else after the escapes are gone, so these are parted.
    """
    parted = re.sub(r"(:|@|www(?=\.)|[<>~!=-](?=[<>=-]))", rf"\1{JOINER}", " ".join(text.split()))
    return re.sub(SPECIAL, r"\\\g<0>", parted)
