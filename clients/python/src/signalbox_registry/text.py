"""White space as JavaScript defines it, for rules that both clients share."""

from __future__ import annotations

import re

#: Inside a character class of a regular expression.
SPACE = r"\t-\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
_ENDS = re.compile(rf"\A[{SPACE}]+|[{SPACE}]+\Z")
_FIRST_WORD = re.compile(rf"[^{SPACE}]*")


def trim(text: str) -> str:
    return _ENDS.sub("", text)


def first_word(text: str) -> str:
    found = _FIRST_WORD.match(trim(text))
    return found[0] if found else ""
