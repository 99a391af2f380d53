"""Publishes models to a Signalbox registry and keeps the active version in memory while requests are served."""

from .errors import LoadError, NotReady, Problem, RegistryUnreachable, SignalboxError, UnsafeCacheFolder
from .fetch import Files
from .loaded_version import Bundle, Lease, LoadedVersion
from .loader import Loader
from .moves import activate, deactivate, rollback
from .publish import publish
from .registry import ModelRegistry
from .version import __version__

__all__ = [
    "Bundle",
    "Files",
    "Lease",
    "LoadError",
    "LoadedVersion",
    "Loader",
    "ModelRegistry",
    "NotReady",
    "Problem",
    "RegistryUnreachable",
    "SignalboxError",
    "UnsafeCacheFolder",
    "__version__",
    "activate",
    "deactivate",
    "publish",
    "rollback",
]
