"""JSON values as JavaScript reads and writes them, so that both clients send the same manifest for the same folder."""

from __future__ import annotations

import json
import math
import sys
from decimal import Decimal
from typing import Any, NoReturn

#: The registry refuses values that are nested deeper.
MAX_DEPTH = 100
_MAX_SAFE_INTEGER = 2**53 - 1


def parse_json(text: str) -> Any:
    """
    Parses JSON. Large integers become floats, or infinite, as in JavaScript. Raises ValueError, also for a text that is
    nested too deeply for Python.
    """
    try:
        return json.loads(text, parse_int=integer, parse_constant=_refuse_constant)
    except RecursionError as cause:
        raise ValueError("the JSON is nested too deeply") from cause


def is_keepable(value: Any) -> bool:
    """Whether the registry can store a value: without a key `__proto__`, and nested at most `MAX_DEPTH` levels."""
    nodes = [(value, 0)]
    while nodes:
        node, depth = nodes.pop()
        if not isinstance(node, (dict, list)):
            continue
        if depth == MAX_DEPTH or (isinstance(node, dict) and "__proto__" in node):
            return False
        nodes += [(child, depth + 1) for child in (node.values() if isinstance(node, dict) else node)]
    return True


def is_json(value: Any) -> bool:
    """Whether a value is JSON that the registry can store. Numbers must be finite."""
    return is_keepable(value) and _is_finite(value)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def canonical(value: Any) -> str:
    """Returns RFC 8785 canonical JSON. Raises ValueError for a lone surrogate."""
    if isinstance(value, dict):
        keys = sorted(value, key=utf16)
        return "{" + ",".join(f"{canonical(key)}:{canonical(value[key])}" for key in keys) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, str):
        value.encode()  # raises UnicodeEncodeError, a ValueError
        return json.dumps(value, ensure_ascii=False)
    if is_number(value):
        return number_text(value)
    return json.dumps(value, allow_nan=False)


def number_text(number: float) -> str:
    """Formats a number as ECMAScript does (Number::toString)."""
    if not math.isfinite(number):
        return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
    sign, parts, exponent = Decimal(repr(float(number))).normalize().as_tuple()
    digits = "".join(map(str, parts))
    point = len(digits) + int(exponent)
    minus = "-" if sign and number else ""
    if not number:
        return "0"
    if 0 < point <= 21:
        return minus + (digits.ljust(point, "0") if len(digits) <= point else f"{digits[:point]}.{digits[point:]}")
    if -6 < point <= 0:
        return f"{minus}0.{'0' * -point}{digits}"
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{minus}{digits[0]}{fraction}e{point - 1:+d}"


def utf16(text: str) -> bytes:
    """The sort key of a string in JavaScript."""
    return text.encode("utf-16-be", "surrogatepass")


def utf16_length(text: str) -> int:
    """The length of a string in JavaScript."""
    return len(utf16(text)) // 2


def integer(text: str) -> int | float:
    """Parses decimal digits: as a float if the integer is too large for JavaScript."""
    number = float(text)
    return int(text) if abs(number) <= _MAX_SAFE_INTEGER else number


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _is_finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return value is None or isinstance(value, (str, bool)) or is_number(value)
