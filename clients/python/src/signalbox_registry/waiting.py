"""Delays before a retry."""

from __future__ import annotations

import random


def jittered(seconds: float, share: float = 0.2) -> float:
    """Returns `seconds` with random jitter, so that loaders that start together do not call together."""
    return seconds * random.uniform(1 - share, 1 + share)


class Backoff:
    """Delays that double up to a limit."""

    def __init__(self, first: float, limit: float) -> None:
        self._first = first
        self._limit = limit
        self._ceiling = first

    def reset(self) -> None:
        self._ceiling = self._first

    def next(self) -> float:
        ceiling = self._ceiling
        self._ceiling = min(self._limit, ceiling * 2)
        return ceiling
