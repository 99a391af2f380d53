"""Servers that fork: each process has its own loader, with the model that was loaded before the fork."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from signalbox_registry import Loader, activate
from support import eventually, publish_value, serves

SERVICE = """
import json, os
from signalbox_registry import Loader

loader = Loader(os.environ["MODEL"], hydrate=lambda version, files: json.loads(files.path("model.json").read_bytes()))
if os.environ["EARLY"] == "1":
    loader.ready(20)

def app(environ, start_response):
    loader.ready(20)
    with loader.use() as loaded:
        answer = {"pid": os.getpid(), "version": loaded.version, "instance": loader._engine._instance}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]
"""


def in_child(run: Callable[[], Any]) -> Any:
    """Runs a function in a forked process and returns its result."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns about forks with threads
        child = os.fork()
    if child == 0:
        try:
            os.write(write, json.dumps(run()).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        output = pipe.read()
    os.waitpid(child, 0)
    return json.loads(output)


def test_a_forked_process_has_its_own_loader(model: str, loader_of: Callable[..., Loader[Any]]) -> None:
    publish_value(model, "1.0.0", 1)
    publish_value(model, "1.1.0", 2)
    activate("1.0.0", "production", model=model)
    disposed: list[Any] = []
    loader = loader_of(model, dispose=disposed.append)
    loader.ready(20)
    held = loader.lease()

    def child() -> list[Any]:
        at_once = loader.lease().model
        eventually(lambda: serves(loader, "1.0.0"))
        activate("1.1.0", "production", model=model)
        eventually(lambda: serves(loader, "1.1.0"))
        held.release()
        with loader.lease() as value:
            status = loader.status()
        engine = loader._engine
        loader.close()
        return [at_once, value, status["pid"], engine and engine._instance]

    at_once, value, pid, instance = in_child(child)
    assert (at_once, value) == (1, 2)
    assert pid != os.getpid() and f"-{pid}-" in instance
    eventually(lambda: serves(loader, "1.1.0"))
    assert disposed == []
    held.release()
    assert disposed == [1]


def test_a_closed_loader_stays_closed_in_a_forked_process(model: str, loader_of: Callable[..., Loader[Any]]) -> None:
    loader = loader_of(model)
    loader.close()

    def child() -> str:
        try:
            loader.lease()
        except Exception as error:
            return str(error)
        return "leased"

    assert in_child(child) == "The loader is closed."


@pytest.mark.parametrize("early", ["1", "0"], ids=["ready before the fork", "ready after the fork"])
def test_gunicorn_with_preload(model: str, tmp_path: Path, early: str) -> None:
    publish_value(model, "1.0.0", 1)
    publish_value(model, "1.1.0", 2)
    activate("1.0.0", "production", model=model)
    (tmp_path / "service.py").write_text(SERVICE)
    source = Path(__file__).resolve().parents[1] / "src"
    environment = {**os.environ, "MODEL": model, "EARLY": early, "PYTHONPATH": f"{source}{os.pathsep}{tmp_path}"}
    address = tmp_path / "socket"
    command = [sys.executable, "-m", "gunicorn", "--preload", "-w", "2", "--bind", f"unix:{address}", "service:app"]
    with open(tmp_path / "gunicorn.log", "wb") as log:
        server = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        versions = answers(address, {"1.0.0"})
        assert len({instance for _, instance in versions}) == 2
        activate("1.1.0", "production", model=model)
        assert len({instance for _, instance in answers(address, {"1.1.0"})}) == 2
    finally:
        server.send_signal(signal.SIGTERM)
        code = server.wait(30)
    assert code == 0, (tmp_path / "gunicorn.log").read_text()


def listens(address: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(address)) == 0


def answers(address: Path, expected: set[str]) -> set[tuple[str, str]]:
    """Returns version and instance of both workers, when both serve the expected version."""
    eventually(lambda: listens(address), 60)

    def both() -> set[tuple[str, str]]:
        found = set()
        for _ in range(20):
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(address)), timeout=20) as client:
                answer = client.get("http://service/").json()
            found.add((answer["version"], answer["instance"]))
        fits = {version for version, _ in found} == expected and len(found) == 2
        return found if fits else set()

    found: set[tuple[str, str]] = eventually(both, 60)
    return found
