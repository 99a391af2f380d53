from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from signalbox_registry.requires import mismatches, python_version, satisfies


def joined(*parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map("".join)


def maybe(part: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(st.just(""), st.just(""), part)


number = st.integers(0, 3).map(str)
separator = st.sampled_from(["", ".", "-", "_"])
epoch = maybe(st.sampled_from(["0!", "1!"]))
release = st.lists(number, min_size=1, max_size=4).map(".".join)
pre = joined(
    separator, st.sampled_from(["a", "b", "rc", "alpha", "beta", "c", "pre", "preview", "RC"]), separator, maybe(number)
)
post = st.one_of(
    joined(st.just("-"), number), joined(separator, st.sampled_from(["post", "rev", "r"]), separator, maybe(number))
)
dev = joined(separator, st.just("dev"), separator, maybe(number))
local = joined(
    st.just("+"), st.lists(st.sampled_from(["0", "1", "a", "b1", "Z"]), min_size=1, max_size=2).map(".".join)
)
version = joined(maybe(st.just("v")), epoch, release, maybe(pre), maybe(post), maybe(dev), maybe(local))
operator = st.sampled_from(["~=", "==", "!=", "<", "<=", ">", ">=", "==="])
specifier = st.one_of(
    joined(operator, maybe(st.just(" ")), version),
    joined(st.sampled_from(["==", "!="]), epoch, release, st.just(".*")),
    joined(operator, version, maybe(st.just(".*"))),
)


@settings(max_examples=1000, deadline=None)
@given(version, st.lists(specifier, min_size=1, max_size=2).map(",".join))
def test_specifiers_agree_with_packaging(version: str, specifiers: str) -> None:
    try:
        expected: object = SpecifierSet(specifiers).contains(version, prereleases=True)
    except InvalidSpecifier:
        expected = "invalid"
    try:
        found: object = satisfies(version, specifiers)
    except ValueError:
        found = "invalid"
    assert found == expected


@pytest.mark.parametrize("specifier", ["", "1.0", "=1.0", "~=1", "==1.*.0", ">=1.0.*", ">=1.0+x", "^1.0", "==1.0rc1.*"])
def test_an_invalid_specifier_is_refused(specifier: str) -> None:
    if not specifier:
        assert satisfies("1.0", specifier)
        return
    with pytest.raises(ValueError, match="PEP 440|~="):
        satisfies("1.0", specifier)


def test_requires_are_checked_against_this_process() -> None:
    fitting = {"python": f"=={python_version()}", "packages": {"HTTPX": ">=0.27"}, "node": ">=99", "npm": {"x": "1"}}
    assert mismatches(fitting) == []
    unmet = mismatches(
        {"python": "<3", "packages": {"httpx": "~=0.1.0", "no-such-package": ">=1", "pytest": "rubbish"}}
    )
    assert unmet[0] == f"python <3 wanted, {python_version()} found"
    assert unmet[1].startswith("httpx ~=0.1.0 wanted, 0.") and unmet[1].endswith(" found")
    assert unmet[2] == "no-such-package >=1 wanted, not installed"
    assert unmet[3].startswith("pytest rubbish wanted, ")


def test_empty_requires_have_no_mismatch() -> None:
    assert mismatches({}) == []
