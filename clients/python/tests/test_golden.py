from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signalbox_registry import LoadError
from signalbox_registry.golden import MAX_GOLDEN_BYTES, agrees, check_golden, parse_golden

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(values)
def test_a_value_agrees_with_itself(value: Any) -> None:
    assert agrees(value, json.loads(json.dumps(value)), 0)


@pytest.mark.parametrize(
    ("expected", "answered", "agreed"),
    [
        (1.0, 1.0000009, True),
        (1.0, 1.000002, False),
        (1e6, 1e6 + 0.9, True),
        (1, 1.0, True),
        (1, True, False),
        (True, 1, False),
        (0, None, False),
        ("1", 1, False),
        ([1, 2], [1, 2, 3], False),
        ([1, [2]], [1, [2.0]], True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        (1.0, float("nan"), False),
        (1.0, float("inf"), False),
        pytest.param(10**400, 1.5, False, id="huge"),
        pytest.param(1.5, 10**400, False, id="answered huge"),
    ],
)
def test_numbers_agree_within_the_tolerance_others_exactly(expected: Any, answered: Any, agreed: bool) -> None:
    assert agrees(expected, answered, 1e-6) is agreed


def golden(**document: Any) -> bytes:
    return json.dumps({"requests": [{"input": 1, "output": [2.0]}], **document}).encode()


@pytest.mark.parametrize("answer", [np.array([2.0]), (np.float32(2.0),), [2], [2.0000001]])
def test_answers_are_converted_to_json_before_they_are_compared(answer: Any) -> None:
    check_golden(parse_golden(golden()), lambda given: answer)


@pytest.mark.parametrize("answer", [[2.1], 2.0, None, {"0": 2.0}])
def test_a_wrong_answer_is_reported(answer: Any) -> None:
    with pytest.raises(LoadError, match=r"Golden request 0: expected \[2.0\], got .*\.") as refused:
        check_golden(parse_golden(golden()), lambda given: answer)
    assert refused.value.code == "golden-mismatch" and refused.value.permanent


def test_an_error_of_the_model_is_reported() -> None:
    def broken(given: Any) -> Any:
        raise RuntimeError("no such feature")

    with pytest.raises(LoadError, match="no such feature"):
        check_golden(parse_golden(golden()), broken)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b'{"requests": [{"input": 1}]}',
        b'{"requests": 5}',
        b'{"requests": [{"input": 1, "output": NaN}]}',
        golden(tolerance="much"),
        golden(tolerance=-1),
        golden(tolerance=True),
        b"[" * 100_000,
        b" " * (MAX_GOLDEN_BYTES + 1),
    ],
)
def test_an_invalid_golden_file_is_a_mismatch(text: bytes) -> None:
    with pytest.raises(LoadError) as refused:
        parse_golden(text)
    assert refused.value.code == "golden-mismatch"
