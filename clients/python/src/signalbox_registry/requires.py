"""
Checks the `requires` of a version against this process. Specifiers are those of PEP 440, except that a pre-release
satisfies every range that contains it: the installed version is a fact, not a candidate to install.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from typing import Any

# PEP 440, appendix B.
VERSION_PATTERN = r"""
    v?
    (?:(?P<epoch>[0-9]+)!)?
    (?P<release>[0-9]+(?:\.[0-9]+)*)
    (?P<pre>[-_.]?(?P<pre_kind>alpha|a|beta|b|preview|pre|c|rc)[-_.]?(?P<pre_number>[0-9]+)?)?
    (?P<post>-(?P<post_implicit>[0-9]+)|[-_.]?(?:post|rev|r)[-_.]?(?P<post_number>[0-9]+)?)?
    (?P<dev>[-_.]?dev[-_.]?(?P<dev_number>[0-9]+)?)?
    (?:\+(?P<local>[a-z0-9]+(?:[-_.][a-z0-9]+)*))?
    """
VERSION = re.compile(VERSION_PATTERN, re.VERBOSE | re.IGNORECASE | re.ASCII)
_SPACE = " \t\n\r\f\v"
_SPECIFIER = re.compile(r"\s*(~=|===|==|!=|<=|>=|<|>)\s*(\S+)\s*")
#: Packages in a report, which is limited to 15 KiB.
MAX_REPORTED = 100

_PRE_ORDER = {"alpha": 0, "a": 0, "beta": 1, "b": 1, "preview": 2, "pre": 2, "c": 2, "rc": 2}

_Pre = tuple[int, int]
_Local = tuple[tuple[int, int, str], ...]
_Key = tuple[int, tuple[int, ...], _Pre, int, tuple[int, int], _Local]


@dataclass(frozen=True)
class Version:
    epoch: int
    release: tuple[int, ...]
    pre: _Pre | None
    post: int | None
    dev: int | None
    local: _Local

    @classmethod
    def parse(cls, text: str) -> Version:
        """Parses a version. Raises ValueError."""
        found = VERSION.fullmatch(text.strip(_SPACE))
        if not found:
            raise ValueError(f"{text!r} is not a PEP 440 version")
        part = found.groupdict()
        pre = (_PRE_ORDER[part["pre_kind"].lower()], int(part["pre_number"] or 0)) if part["pre"] else None
        post = int(part["post_implicit"] or part["post_number"] or 0) if part["post"] else None
        dev = int(part["dev_number"] or 0) if part["dev"] else None
        release = tuple(int(number) for number in part["release"].split("."))
        return cls(int(part["epoch"] or 0), release, pre, post, dev, _local(part["local"]))

    @property
    def public(self) -> _Key:
        """The sort key without the local part."""
        before_all, after_all = (-1, 0), (3, 0)
        only_dev = self.pre is None and self.post is None and self.dev is not None
        pre = self.pre or (before_all if only_dev else after_all)
        post = -1 if self.post is None else self.post
        dev = (1, 0) if self.dev is None else (0, self.dev)
        return (*self.base, pre, post, dev, ())

    @property
    def key(self) -> _Key:
        return (*self.public[:5], self.local)

    @property
    def base(self) -> tuple[int, tuple[int, ...]]:
        """Epoch and release without trailing zeros."""
        release = self.release
        while len(release) > 1 and release[-1] == 0:
            release = release[:-1]
        return (self.epoch, release)

    @property
    def is_prerelease(self) -> bool:
        return self.pre is not None or self.dev is not None

    def starts_with(self, epoch: int, prefix: tuple[int, ...]) -> bool:
        padded = self.release + (0,) * (len(prefix) - len(self.release))
        return self.epoch == epoch and padded[: len(prefix)] == prefix


def satisfies(version: str, specifiers: str) -> bool:
    """Whether a version satisfies all of the specifiers. Raises ValueError if one of them is not PEP 440."""
    # A list: every specifier is parsed, so that an invalid one is always reported.
    return all([_satisfies(version, one) for one in specifiers.split(",") if one.strip()])


def _satisfies(text: str, specifier: str) -> bool:
    found = _SPECIFIER.fullmatch(specifier)
    if not found:
        raise ValueError(f"{specifier!r} is not a PEP 440 specifier")
    operator, operand = found.groups()
    if operator == "===":
        return text.strip().lower() == operand.lower()
    version = Version.parse(text)
    if operand.endswith(".*") and operator in ("==", "!="):
        prefix = Version.parse(operand[:-2])
        if prefix != Version(prefix.epoch, prefix.release, None, None, None, ()):
            raise ValueError(f"{specifier!r} is not a PEP 440 specifier")
        return version.starts_with(prefix.epoch, prefix.release) is (operator == "==")
    wanted = Version.parse(operand)
    if wanted.local and operator not in ("==", "!="):
        raise ValueError(f"{specifier!r} has a local version, which PEP 440 does not allow here")
    return _compares(version, operator, wanted)


def _compares(version: Version, operator: str, wanted: Version) -> bool:
    match operator:
        case "==" | "!=":
            same = version.key == wanted.key if wanted.local else version.public == wanted.public
            return same is (operator == "==")
        case "<=":
            return version.public <= wanted.public
        case ">=":
            return version.public >= wanted.public
        case "<":
            # PEP 440: <1.0 excludes 1.0rc1.
            return version.key < (wanted if wanted.is_prerelease else replace(wanted, dev=0)).key
        case ">":
            return version.key > wanted.key and not _is_later_build(version, wanted)
        case _:  # ~=
            if len(wanted.release) < 2:
                raise ValueError("~= needs at least two numbers")
            return version.public >= wanted.public and version.starts_with(wanted.epoch, wanted.release[:-1])


def _is_later_build(version: Version, of: Version) -> bool:
    """Whether >`of` excludes a version that sorts after it: >1.0 excludes 1.0.post1 and 1.0+local."""
    if of.dev is None and of.post is None:
        return (version.base, version.pre) == (of.base, of.pre)
    return version.public == of.public


def _local(text: str | None) -> _Local:
    if text is None:
        return ()
    parts = re.split(r"[-_.]", text.lower())
    return tuple((1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts)


def python_version() -> str:
    """Returns the version as PEP 440. `platform` returns others for a distribution's builds, for example 3.13.1+."""
    major, minor, micro, level, serial = sys.version_info
    before = {"alpha": f"a{serial}", "beta": f"b{serial}", "candidate": f"rc{serial}"}
    return f"{major}.{minor}.{micro}{before.get(level, '')}"


def mismatches(
    requires: Mapping[str, Any], python: str | None = None, installed: Callable[[str], str | None] | None = None
) -> list[str]:
    """
    Returns the requirements that are not met, as messages. Those on Node are ignored. The default is the Python of this
    process and the packages that are installed.
    """
    wanted: list[tuple[str, Any, str | None]] = [("python", requires.get("python"), python or python_version())]
    for name, specifiers in _packages(requires).items():
        wanted.append((name, specifiers, (installed or _installed)(name)))
    return [
        f"{name} {specifiers} wanted, {f'{actual} found' if actual else 'not installed'}"
        for name, specifiers, actual in wanted
        if specifiers is not None and not _holds(actual, specifiers)
    ]


def runtime(names: Iterable[str]) -> dict[str, Any]:
    """Returns the versions of Python and of those named packages that are installed."""
    packages = {name: version for name in names if (version := _installed(name)) and _is_version(version)}
    return {"python": python_version(), "packages": packages}


def required_packages(manifest: Mapping[str, Any]) -> list[str]:
    return list(_packages(manifest.get("requires") or {}))[:MAX_REPORTED]


def _packages(requires: Mapping[str, Any]) -> Mapping[str, Any]:
    packages = requires.get("packages")
    return packages if isinstance(packages, dict) else {}


def _holds(actual: str | None, specifiers: object) -> bool:
    try:
        return actual is not None and satisfies(actual, str(specifiers))
    except ValueError:
        return False


def _is_version(text: str) -> bool:
    return VERSION.fullmatch(text.strip(_SPACE)) is not None


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except (metadata.PackageNotFoundError, ValueError):
        return None
