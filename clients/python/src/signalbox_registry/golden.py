"""Golden requests: inputs with known outputs, checked before a version serves (docs/loaders.md)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from .client import describe_error
from .errors import LoadError

GOLDEN_FILE = "golden.json"
MAX_GOLDEN_BYTES = 1024 * 1024
DEFAULT_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Golden:
    tolerance: float
    #: Pairs of input and expected output.
    requests: list[tuple[Any, Any]]


def parse_golden(text: bytes) -> Golden:
    """Parses golden.json. Raises `LoadError` golden-mismatch."""
    if len(text) > MAX_GOLDEN_BYTES:
        raise LoadError("golden-mismatch", f"{GOLDEN_FILE} is larger than {MAX_GOLDEN_BYTES} bytes.")
    try:
        document = json.loads(text, parse_constant=_refuse_constant)
        tolerance = document.get("tolerance", DEFAULT_TOLERANCE)
        if not _is_number(tolerance) or tolerance < 0:
            raise ValueError("the tolerance is not a number of at least 0")
        return Golden(tolerance, [(request["input"], request["output"]) for request in document["requests"]])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as cause:
        raise LoadError("golden-mismatch", f"{GOLDEN_FILE} is not valid: {cause}.") from cause


def check_golden(golden: Golden, predict: Callable[[Any], Any]) -> None:
    """Compares the answers with the expected ones. Raises `LoadError` golden-mismatch."""
    for number, (given, expected) in enumerate(golden.requests):
        try:
            answered = plain(predict(given))
        except Exception as cause:
            raise LoadError("golden-mismatch", f"Golden request {number} failed: {describe_error(cause)}.") from cause
        if not agrees(expected, answered, golden.tolerance):
            wanted, got = _short(expected), _short(answered)
            raise LoadError("golden-mismatch", f"Golden request {number}: expected {wanted}, got {got}.")


def agrees(expected: Any, answered: Any, tolerance: float) -> bool:
    """Compares numbers within `tolerance * max(1, |expected|)` and everything else exactly."""
    if _is_number(expected) and _is_number(answered):
        if expected == answered:
            return True
        try:
            return bool(abs(expected - answered) <= tolerance * max(1.0, abs(expected)))
        except OverflowError:
            return False  # an integer too large for a float
    if isinstance(expected, list) and isinstance(answered, list):
        pairs = zip(expected, answered, strict=False)
        return len(expected) == len(answered) and all(agrees(one, other, tolerance) for one, other in pairs)
    if isinstance(expected, dict) and isinstance(answered, dict):
        return expected.keys() == answered.keys() and all(
            agrees(value, answered[key], tolerance) for key, value in expected.items()
        )
    return type(expected) is type(answered) and bool(expected == answered)


def plain(value: Any) -> Any:
    """Converts numpy arrays and numbers, and tuples, to JSON values."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
