"""`ModelRegistry`: loads, lists and saves the versions of a model by version number."""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib import metadata as installed
from pathlib import Path
from types import TracebackType
from typing import Any

from .cache import Cache
from .cancellation import Cancellation
from .client import Client, segment, versions_path
from .config import Registry, cache_folder, model_name
from .errors import LoadError
from .fetch import Fetched, Fetcher
from .joblib_model import dump_joblib, load_joblib
from .loader import GIB
from .position import Target
from .publish import publish
from .requires import mismatches, python_version

METADATA_FILE = "metadata.json"


class ModelRegistry:
    """
    Loads, lists and saves versions of one model. Files are read through the verified cache; no model is kept in memory.

    >>> with ModelRegistry("fraud") as registry:
    ...     model = registry.get_model("1.2.0")
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        dsn: str | None = None,
        token: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        cache_bytes: int = 20 * GIB,
        volume: str | os.PathLike[str] | None = None,
    ) -> None:
        self._model = model_name(model)
        self._dsn = dsn
        self._token = token
        registry = Registry.of(dsn, token)
        self._client = Client(registry)
        cache = Cache(cache_folder(cache_dir, registry.dsn), cache_bytes)
        mounted = Path(volume) if volume is not None else None
        self._fetcher = Fetcher(self._client, cache, secrets.token_hex(8), mounted)

    def versions(self, where: str | None = None, order_by: str | None = None) -> Iterator[dict[str, Any]]:
        """
        Yields the versions that a filter matches (docs/search.md), or all, as the API returns them: in an order, or the
        newest revision first. Raises `Problem` invalid-request, with the position of a mistake in `fields`.

        >>> best = next(registry.versions("status = 'ready' and tags.team = 'risk'", order_by="metrics.auc desc"))
        """
        search = {"where": where, "order_by": order_by}
        given = {name: value for name, value in search.items() if value is not None}
        token: str | None = None
        while True:
            query: dict[str, str | int] = {"page_size": 1000, **given, **({"page_token": token} if token else {})}
            page = self._client.call("GET", versions_path(self._model), query=query)
            yield from page["versions"]
            token = page["next_page_token"]
            if not token:
                return

    def list_versions(self) -> list[str]:
        """Returns the version numbers, the lowest first."""
        return sorted((entry["version"] for entry in self.versions()), key=_precedence)

    def get_latest_version(self) -> str:
        """Returns the highest version. Raises `Problem` unknown-version if there is none."""
        return str(self._version("latest")["version"])

    def compare(self, *versions: str, differing: bool = False) -> dict[str, Any]:
        """
        Compares two to ten versions, as the API returns it: every field, or only those that differ.

        >>> [entry["field"] for entry in registry.compare("1.0.0", "1.1.0", differing=True)["fields"]]
        """
        query = {"versions": ",".join(versions), "differing": str(differing).lower()}
        path = f"/api/models/{segment(self._model)}/compare"
        comparison: dict[str, Any] = self._client.call("GET", path, query=query)
        return comparison

    def get_metadata(self, version: str) -> dict[str, Any]:
        """Returns the version's metadata.json without loading the model. Raises FileNotFoundError if it is missing."""
        files = self._fetch(self._version(version)).files
        metadata: dict[str, Any] = json.loads(files.path(METADATA_FILE).read_bytes())
        return metadata

    def get_model(self, version: str) -> Any:
        """Loads a version. Raises `LoadError` if its requirements do not match this process."""
        return self._load(self._version(version))

    def get_latest_model(self) -> Any:
        return self._load(self._version("latest"))

    def get_active_model(self, environment: str = "production") -> Any:
        """Loads the active version. Raises `Problem` no-active-version. To follow activations, use `Loader`."""
        return self._load(self._version("active", environment=environment))

    def save_model(self, version: str, model: object, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """Publishes a model as model.joblib, with metadata that includes the versions of Python and the packages."""
        with tempfile.TemporaryDirectory(prefix="signalbox-") as name:
            folder = Path(name)
            dump_joblib(model, folder)
            document = {**saved_with(), **metadata}
            (folder / METADATA_FILE).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
            return publish(folder, model=self._model, version=version, dsn=self._dsn, token=self._token)

    def close(self) -> None:
        self._fetcher.close()
        self._client.close()

    def __enter__(self) -> ModelRegistry:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _version(self, name: str, **query: str) -> dict[str, Any]:
        path = f"{versions_path(self._model)}/{segment(name)}"
        version: dict[str, Any] = self._client.call("GET", path, query=query)
        return version

    def _fetch(self, version: Mapping[str, Any]) -> Fetched:
        target = Target(version["version"], version["manifest_digest"], version["revision"])
        return self._fetcher.fetch(self._model, target, Cancellation())

    def _load(self, version: Mapping[str, Any]) -> Any:
        fetched = self._fetch(version)
        unmet = mismatches(fetched.manifest.get("requires") or {})
        if unmet:
            raise LoadError("runtime-mismatch", "; ".join(unmet))
        return load_joblib(version["version"], fetched.files)


def saved_with() -> dict[str, str]:
    """Returns the versions in this process. The registry derives `requires` from them."""
    packages = {"joblib_version": "joblib", **({"sklearn_version": "scikit-learn"} if "sklearn" in sys.modules else {})}
    return {
        "python_version": python_version(),
        **{name: installed.version(package) for name, package in packages.items()},
    }


def _precedence(version: str) -> tuple[object, ...]:
    """Returns the sort key of a version (Semantic Versioning 2.0.0, section 11)."""
    release, _, before = version.partition("-")
    numbers = tuple(int(number) for number in release.split("."))
    if not before:
        return (numbers, 1)
    parts = [(0, int(part), "") if re.fullmatch(r"\d+", part) else (1, 0, part) for part in before.split(".")]
    return (numbers, 0, parts)
