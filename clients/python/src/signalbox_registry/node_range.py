"""Validates ranges of node-semver (the npm package `semver` 7), in the order of its own steps."""

from __future__ import annotations

import re

from .text import SPACE, trim

_MAX_LENGTH = 256
_MAX_SAFE_INTEGER = 2**53 - 1
_NUMBER = r"(?:0|[1-9][0-9]{0,256})"
_ANY = rf"(?:{_NUMBER}|x|X|\*)"
_NAME = r"[0-9]{0,256}[a-zA-Z-][a-zA-Z0-9-]{0,250}"
_PRE_ID = rf"(?:{_NAME}|{_NUMBER})"
_PRE = rf"-({_PRE_ID}(?:\.{_PRE_ID})*)"
_LOOSE_ID = rf"(?:{_NAME}|[0-9]{{1,256}})"
_LOOSE_PRE = rf"(?:-?{_LOOSE_ID}(?:\.{_LOOSE_ID})*)"
_LOOSE_PLAIN = rf"[v={SPACE}]*[0-9]{{1,256}}\.[0-9]{{1,256}}\.[0-9]{{1,256}}{_LOOSE_PRE}?"
_PARTIAL = rf"[v={SPACE}]*({_ANY})(?:\.({_ANY})(?:\.({_ANY})(?:{_PRE})?)?)?"
_BUILD = re.compile(r"\+[a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)*")
_HYPHEN = re.compile(rf" ?({_PARTIAL}) - ({_PARTIAL}) ?")
_TRIM = re.compile(rf"( ?)((?:<|>)?=?) ?({_LOOSE_PLAIN}|{re.sub(r'[(](?![?])', '(?:', _PARTIAL)})")
_TILDE = re.compile(rf"~>?{_PARTIAL}")
_CARET = re.compile(rf"\^{_PARTIAL}")
_OPERATOR = re.compile(rf"((?:<|>)?=?) ?{_PARTIAL}")
_STAR = re.compile(r"[<>]?=? ?\*")
_COMPARATOR = re.compile(rf"(?:<|>)?=?(v?({_NUMBER})\.({_NUMBER})\.({_NUMBER})(?:{_PRE})?)|")


def is_node_range(text: str) -> bool:
    collapsed = re.sub(rf"[{SPACE}]+", " ", trim(text))
    return all(_is_valid(trim(part)) for part in collapsed.split("||"))


def _is_valid(part: str) -> bool:
    part = _BUILD.sub("", part)
    hyphen = _HYPHEN.fullmatch(part)
    if hyphen:
        part = f"{_from(*hyphen.groups()[:5])} {_to(*hyphen.groups()[5:])}".strip(" ")
    part = _TRIM.sub(r"\1\2\3", part)
    part = re.sub(r"( ?)~>? ", r"\1~", part)
    part = re.sub(r"( ?)\^ ", r"\1^", part)
    return all(_is_comparator(text) for one in part.split(" ") for text in _expanded(one).split(" "))


def _expanded(one: str) -> str:
    for pattern, upper in ((_CARET, _caret), (_TILDE, _tilde)):
        found = pattern.fullmatch(one)
        if found:
            return upper(*found.groups())
    found = _OPERATOR.fullmatch(one)
    if found:
        one = _compared(one, *found.groups())
    return _STAR.sub("", one, count=1)


def _caret(major: str, minor: str | None, patch: str | None, pre: str | None) -> str:
    if major == "0" and not _is_any(minor):
        zero = minor == "0" and not _is_any(patch)
        return f"{_lower(major, minor, patch, pre)} <0.{f'0.{_next(patch)}' if zero else f'{_next(minor)}.0'}-0"
    return "" if _is_any(major) else f"{_lower(major, minor, patch, pre)} <{_next(major)}.0.0-0"


def _tilde(major: str, minor: str | None, patch: str | None, pre: str | None) -> str:
    if _is_any(major) or _is_any(minor):
        return "" if _is_any(major) else f">={major}.0.0 <{_next(major)}.0.0-0"
    return f"{_lower(major, minor, patch, pre)} <{major}.{_next(minor)}.0-0"


def _compared(one: str, operator: str, major: str, minor: str | None, patch: str | None, pre: str | None) -> str:
    if (_is_any(major) and not _is_any(minor)) or (_is_any(minor) and patch and not _is_any(patch)):
        return one
    if _is_any(major):
        return ""
    if not _is_any(minor) and not _is_any(patch):
        return one
    last, below = (major, "") if _is_any(minor) else (minor, f"{major}.")
    numbers = f"{below}{_next(last) if operator in ('>', '<=', '', '=') else last}"
    return f">={_lower(major, minor, None, None)[2:]} <{numbers}{'.0' * (2 - numbers.count('.'))}-0"


def _from(text: str, major: str, minor: str | None, patch: str | None, pre: str | None) -> str:
    if _is_any(major):
        return ""
    return _lower(major, minor, None, None) if _is_any(minor) or _is_any(patch) else f">={text}"


def _to(text: str, major: str, minor: str | None, patch: str | None, pre: str | None) -> str:
    if _is_any(major):
        return ""
    if _is_any(minor):
        return f"<{_next(major)}.0.0-0"
    if _is_any(patch):
        return f"<{major}.{_next(minor)}.0-0"
    return f"<={major}.{minor}.{patch}-{pre}" if pre else f"<={text}"


def _lower(major: str, minor: str | None, patch: str | None, pre: str | None) -> str:
    if _is_any(minor) or _is_any(patch):
        return f">={major}.{'0' if _is_any(minor) else minor}.0"
    return f">={major}.{minor}.{patch}{f'-{pre}' if pre else ''}"


def _is_any(number: str | None) -> bool:
    return number in (None, "", "x", "X", "*")


def _next(number: str | None) -> str:
    return str(int(number or 0) + 1)


def _is_comparator(text: str) -> bool:
    found = _COMPARATOR.fullmatch(text)
    if not found:
        return False
    version, *numbers, _ = found.groups()
    return version is None or (
        len(version) <= _MAX_LENGTH and all(int(number) <= _MAX_SAFE_INTEGER for number in numbers)
    )
