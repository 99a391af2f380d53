"""Loads the active version of MODEL for each registry on standard input; prints what a new loader loaded and logged."""

import hashlib
import json
import logging
import sys
import tempfile

from signalbox_registry import Files, Loader, NotReady

lines: list[str] = []


class Recorder(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        lines.append(record.getMessage())


def hydrate(version: str, files: Files) -> str:
    with open(files.path("weights.bin"), "rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def load(dsn: str) -> dict[str, object]:
    lines.clear()
    with tempfile.TemporaryDirectory() as cache, Loader(dsn=dsn, hydrate=hydrate, cache_dir=cache) as loader:
        try:
            loader.ready(20)
            return {"loaded": loader.lease().model, "error": None, "lines": lines}
        except NotReady:
            error = loader.status()["error"] or {}
            return {"loaded": None, "error": error.get("code"), "lines": lines}


# The level at which httpx logs requests.
logging.basicConfig(level=logging.INFO, handlers=[Recorder()])
for line in sys.stdin:
    print(json.dumps(load(line.strip())), flush=True)
