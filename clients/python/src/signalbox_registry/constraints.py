"""Derives `requires` from metadata and requirements.txt, by the rules of the registry."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .json_values import is_keepable, number_text, utf16_length
from .requires import VERSION, VERSION_PATTERN
from .text import SPACE, first_word, trim

#: Longer than any version or range that is written by hand.
_MAX_CONSTRAINT_LENGTH = 1000
_PRE_RELEASES = {"alpha": "a", "beta": "b", "c": "rc", "pre": "rc", "preview": "rc"}
_VERSION = re.sub(r"[?]P<[a-z_]+>", "?:", VERSION_PATTERN)
_SPECIFIER = re.compile(
    rf"(?P<operator>===|~=|==|!=|<=|>=|<|>)[{SPACE}]*"
    rf"(?:(?P<version>(?x:{_VERSION}))(?P<prefix>\.\*)?|(?P<legacy>[^,;{SPACE})]+))",
    re.IGNORECASE | re.ASCII,
)
_COMMENT = re.compile(rf"(?:^|[{SPACE}])(?:#|--|\\)[^\n\r\u2028\u2029]*\Z")
_REQUIREMENT = re.compile(
    rf"([A-Za-z0-9][A-Za-z0-9._-]*)[{SPACE}]*(?:\[[^\]]*\][{SPACE}]*)?([~=<>!][^;]*)",
)
_PIN = re.compile(rf"==[{SPACE}]*([^=*,{SPACE}]+)[{SPACE}]*")
_PYTHON_FACTS = ("python", "python_version")
_PACKAGE_FACTS = {
    "scikit-learn": ("sklearn", "scikit-learn", "sklearn_version"),
    "joblib": ("joblib", "joblib_version"),
}


def constraint_from(text: str) -> str | None:
    """
    Converts a text from metadata to a constraint: a version (`1.5.1`, or CPython's `3.11.7 (main, …)`) requires the
    same minor release, a range is returned unchanged, and any other text gives None.
    """
    if utf16_length(text) > _MAX_CONSTRAINT_LENGTH:
        return None
    version = VERSION.fullmatch(first_word(text))
    if version:
        return _same_minor(version)
    return text if is_python_range(text) else None


def is_python_range(text: str) -> bool:
    """Whether a text is a list of PEP 440 specifiers, as the registry accepts them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False  # a lone surrogate
    return all(_is_specifier(trim(one)) for one in text.split(","))


def package_name(name: str) -> str:
    """Returns the normalized name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name.lower())


def valid_requires(value: Any) -> dict[str, Any] | None:
    """
    Returns `requires` if the registry accepts it, else None. The ranges of Node and npm are left to the registry, which
    refuses invalid ones: checking them here would need node-semver in Python.
    """
    if not isinstance(value, dict) or not value.keys() <= {"python", "packages", "node", "npm"}:
        return None
    packages, npm = value.get("packages", {}), value.get("npm", {})
    if not all(isinstance(named, dict) and is_keepable(named) for named in (packages, npm)):
        return None
    if len({package_name(name) for name in packages}) < len(packages):
        return None
    python = [*packages.values(), *([value["python"]] if "python" in value else [])]
    node = [*npm.values(), *([value["node"]] if "node" in value else [])]
    if not all(isinstance(one, str) and is_python_range(one) for one in python):
        return None
    return value if all(isinstance(one, str) for one in node) else None


def requires_from_metadata(documents: Sequence[Any]) -> dict[str, Any]:
    """
    Returns what metadata documents state about the runtime: `requires` in the manifest's shape, then versions, which
    become constraints to the same minor release. The first document that names something takes precedence.
    """
    stated = [valid_requires(document.get("requires")) or {} for document in documents if isinstance(document, dict)]
    return merge_requires(*stated, _requires_from_facts(documents))


def requires_from_requirements(text: str) -> dict[str, Any]:
    """
    Returns pinned and ranged packages of a requirements.txt, with or without hashes. Options, URLs, names without a
    version and lines with a marker are ignored: a marker may be false in another process.
    """
    packages: dict[str, str] = {}
    for line in re.split(r"\r?\n", text):
        found = _REQUIREMENT.fullmatch(trim(_COMMENT.sub("", line, count=1)))
        if not found:
            continue
        pin = _PIN.fullmatch(found[2])
        constraint = constraint_from(pin[1] if pin else trim(found[2]))
        if constraint:
            packages[package_name(found[1])] = constraint
    return {"packages": packages} if packages else {}


def merge_requires(*sources: Mapping[str, Any]) -> dict[str, Any]:
    """Merges constraints. The first source that names something takes precedence, in any spelling of a package."""
    merged: dict[str, Any] = {}
    for source in reversed(sources):
        named = {package_name(name) for name in source.get("packages", {})}
        others = {name: one for name, one in merged.get("packages", {}).items() if package_name(name) not in named}
        packages = {**others, **source.get("packages", {})}
        merged.update(source)
        if packages:
            merged["packages"] = packages
    return merged


def _is_specifier(text: str) -> bool:
    found = _SPECIFIER.fullmatch(text)
    if not found:
        return False
    equality = found["operator"] in ("==", "!=", "===")
    version = VERSION.fullmatch(found["version"] or "")
    if not version:
        return found["operator"] == "==="
    if found["operator"] == "~=" and "." not in version["release"]:
        return False
    if version["local"] and not equality:
        return False
    dev = float(version["dev_number"] or 0) > 0
    return not found["prefix"] or (equality and not dev and not version["local"])


def _same_minor(version: re.Match[str]) -> str | None:
    """None if the numbers are too large to be written as digits."""
    major, *others = (float(number) for number in version["release"].split("."))
    first = ".".join(number_text(number) for number in (major, *others[:1], 0))
    # A pre-release of the first version of a minor release does not satisfy ">= first version".
    if not any(others[1:]):
        kind = (version["pre_kind"] or "").lower()
        first += f"{_PRE_RELEASES.get(kind, kind)}{_number(version['pre_number'])}" if kind else ""
        first += f".dev{_number(version['dev_number'])}" if version["dev"] else ""
    constraint = f"~={_number(version['epoch'])}!{first}" if float(version["epoch"] or 0) else f"~={first}"
    return constraint if is_python_range(constraint) else None


def _number(text: str | None) -> str:
    return number_text(float(text or 0))


def _requires_from_facts(documents: Sequence[Any]) -> dict[str, Any]:
    """Versions are read from the top level and from `runtime`, `environment` and `versions`."""
    places = [place for document in documents for place in _fact_places(document)]
    packages = {name: one for name, facts in _PACKAGE_FACTS.items() if (one := _first_constraint(places, facts))}
    python = _first_constraint(places, _PYTHON_FACTS)
    return {**({"python": python} if python else {}), **({"packages": packages} if packages else {})}


def _fact_places(document: Any) -> list[dict[str, Any]]:
    if not isinstance(document, dict):
        return []
    nested = [document.get(name) for name in ("runtime", "environment", "versions")]
    return [document, *(place for place in nested if isinstance(place, dict))]


def _first_constraint(places: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str | None:
    found = (place[name] for place in places for name in names if isinstance(place.get(name), str))
    return next((constraint for text in found if (constraint := constraint_from(text))), None)
