"""Publishing and moving with a real registry, in Python and on the command line."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx
import pytest

from signalbox_registry import Problem, RegistryUnreachable, activate, deactivate, publish, rollback
from signalbox_registry.__main__ import main
from signalbox_registry.client import Client
from signalbox_registry.config import Registry
from signalbox_registry.constraints import constraint_from
from signalbox_registry.describe import canonical_manifest, describe, list_artifacts
from signalbox_registry.folder import list_files
from signalbox_registry.requires import python_version
from signalbox_registry.tokens import Tokens, sign
from signalbox_registry.upload import send_file
from support import CuttingProxy, Exchange, Proxy, RegistryProcess, eventually, publish_value


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    (folder / "deep").mkdir(parents=True)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").write_bytes(b"no part of it")
    (folder / ".hidden").write_bytes(b"no part of it")
    (folder / "model.joblib").write_bytes(os.urandom(500_000))
    (folder / "deep" / "copy.joblib").write_bytes((folder / "model.joblib").read_bytes())
    metadata = {
        "python_version": "3.11.7",
        "sklearn_version": "1.5.2",
        "metrics": {"accuracy": 0.9},
        "params": {"C": 1.0, "kernel": None},
        "tags": {"not": 1},
        "lineage": {"dataset": {"rows": 5}},
        "run": os.urandom(8).hex(),  # so that the registry does not have the file yet
    }
    (folder / "metadata.json").write_text(json.dumps(metadata))
    return folder


def test_a_folder_is_published_as_a_version(model: str, folder: Path, proxy: Proxy) -> None:
    version = publish(folder, model=model, version="1.0.0", metrics={"accuracy": 0.95}, notes="first", dsn=proxy.url)
    manifest = version["manifest"]
    assert [artifact["path"] for artifact in manifest["artifacts"]] == [
        "deep/copy.joblib",
        "metadata.json",
        "model.joblib",
    ]
    assert manifest["requires"] == {"python": "~=3.11.0", "packages": {"scikit-learn": "~=1.5.0"}}
    assert (manifest["flavor"], manifest["metrics"], manifest["tags"]) == ("sklearn", {"accuracy": 0.95}, {})
    assert (manifest["params"], manifest["lineage"]) == ({"C": 1.0, "kernel": None}, {"dataset": {"rows": 5}})
    assert version["notes"] == "first"
    sent = [request.path for request in proxy.requests if request.command == "PUT"]
    assert len(sent) == len(set(sent)) == 2


def environment(*packages: str) -> dict[str, Any]:
    return {
        "python": constraint_from(python_version()),
        "packages": {name: constraint_from(metadata.version(name)) for name in packages},
    }


@pytest.mark.parametrize(
    ("file", "packages"),
    [
        ("model.joblib", ("joblib", "scikit-learn")),
        ("deep/model.pkl", ("scikit-learn",)),
        ("model.onnx", None),
        ("model.safetensors", None),
    ],
)
def test_a_model_without_metadata_requires_the_runtime_of_this_process(
    model: str, tmp_path: Path, file: str, packages: tuple[str, ...] | None
) -> None:
    path = tmp_path / "bare" / file
    path.parent.mkdir(parents=True)
    path.write_bytes(os.urandom(100))
    # Metadata without the runtime: a version must be a string.
    (tmp_path / "bare" / "metadata.json").write_text('{"metrics": {"auc": 0.9}, "python_version": 3.11}')
    manifest = publish(tmp_path / "bare", model=model, version="1.0.0")["manifest"]
    assert manifest["requires"] == ({} if packages is None else environment(*packages))
    assert (manifest["flavor"] == "sklearn") is (packages is not None)
    unbound = publish(tmp_path / "bare", model=model, version="1.1.0", requires={})
    assert unbound["manifest"]["requires"] == {}


@pytest.mark.parametrize(
    ("file", "text", "requires"),
    [
        ("metadata.json", '{"requires": {}}', {}),
        ("MLmodel", "flavors: {sklearn: {sklearn_version: 1.5.2}}", {"packages": {"scikit-learn": "~=1.5.0"}}),
        ("requirements.txt", "numpy>=2\n", {"packages": {"numpy": ">=2"}}),
    ],
)
def test_the_runtime_of_this_process_is_not_required_if_a_file_states_one(
    model: str, tmp_path: Path, file: str, text: str, requires: dict[str, Any]
) -> None:
    (tmp_path / "model.pkl").write_bytes(b"content")
    (tmp_path / file).write_text(text)
    assert publish(tmp_path, model=model, version="1.0.0")["manifest"]["requires"] == requires


def test_the_registry_computes_the_same_manifest_digest(model: str, tmp_path: Path) -> None:
    (tmp_path / "größe").mkdir()
    for path in ("model.onnx", "größe/ä.txt", "größe/Z.txt"):
        (tmp_path / path).write_text(path)
    document = '{"metrics": {"a": 1e21, "b": 1e-7, "c": 0.1}, "tags": {"\\ud83d\\ude00": "é"}}'
    (tmp_path / "metadata.json").write_text(document)
    files = list_files(tmp_path)
    text = canonical_manifest({**describe(files).fields, "artifacts": list_artifacts(files)})
    published = publish(tmp_path, model=model, version="1.0.0")
    assert published["manifest_digest"] == f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


@pytest.mark.parametrize(
    ("version", "constraint"),
    [
        ("1.5.2", "~=1.5.0"),
        ("3", "~=3.0"),
        ("2!1.5.2+cu1", "~=2!1.5.0"),
        ("3.14.0rc1", "~=3.14.0rc1"),
        ("1.6.dev0", "~=1.6.0.dev0"),
        ("1.5.2rc1", "~=1.5.0"),
    ],
)
def test_the_registry_derives_the_same_constraint_from_a_version(
    model: str, tmp_path: Path, version: str, constraint: str
) -> None:
    assert constraint_from(version) == constraint
    (tmp_path / "model.joblib").write_bytes(b"content")
    (tmp_path / "metadata.json").write_text(json.dumps({"joblib_version": version}))
    published = publish(tmp_path, model=model, version="1.0.0")
    assert published["manifest"]["requires"] == {"packages": {"joblib": constraint}}


def script(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs code in another process."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "src"), **variables}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)


def test_scikit_learn_is_not_required_if_joblib_was_imported_without_it(tmp_path: Path) -> None:
    required = "from signalbox_registry.describe import describe; print(describe({'m.joblib': None}).process_requires)"
    outputs = ["scikit-learn" in script(f"{first}{required}").stdout for first in ("", "import joblib; ")]
    assert outputs == [True, False]


@pytest.mark.parametrize(
    "call", ["publish('.', version='1.0.0')", "activate('1.0.0', 'production')", "ModelRegistry().list_versions()"]
)
def test_without_a_token_the_error_is_short_and_states_what_to_do(tmp_path: Path, call: str) -> None:
    (tmp_path / "model.onnx").write_bytes(b"content")
    code = f"import os; os.chdir({str(tmp_path)!r}); from signalbox_registry import *; {call}"
    ended = script(code, REGISTRY_VOLUME="/nowhere", REGISTRY_TOKEN="")
    assert ended.stderr.splitlines()[-1] == (
        "signalbox_registry.errors.Problem: No token, and no secret at /nowhere/.signalbox/secret. "
        "Set REGISTRY_TOKEN, or set REGISTRY_VOLUME to the volume of the registry on this machine."
    )
    assert "site-packages" not in ended.stderr
    assert ended.stderr.count('  File "') <= 7


@pytest.mark.parametrize("call", ["publish('.', version='1.0.0')", "activate('1.0.0', 'production')"])
def test_an_unreachable_registry_and_a_refusal_are_reported_without_internal_frames(
    registry: RegistryProcess, tmp_path: Path, call: str
) -> None:
    (tmp_path / "model.onnx").write_bytes(b"content")
    code = f"import os; os.chdir({str(tmp_path)!r}); from signalbox_registry import *; {call}"
    unreachable = script(code, REGISTRY_DSN="http://127.0.0.1:1")
    assert "RegistryUnreachable: There is no answer from http://127.0.0.1:1" in unreachable.stderr.splitlines()[-1]
    refused = script(code, REGISTRY_TOKEN="no-such-token")
    assert "errors.Problem: " in refused.stderr.splitlines()[-1]
    for ended in (unreachable, refused):
        assert not any(part in ended.stderr for part in ("site-packages", "concurrent"))
        assert ended.stderr.count('  File "') <= 8


def test_a_repeated_call_sends_no_file_and_publishes_no_version_again(model: str, folder: Path, proxy: Proxy) -> None:
    first = publish(folder, model=model, bump="minor", dsn=proxy.url)
    sent = len([request for request in proxy.requests if request.command == "PUT"])
    again = publish(folder, model=model, bump="minor", dsn=proxy.url)
    assert first["version"] == again["version"] == "0.1.0"
    assert first["revision"] == again["revision"]
    assert len([request for request in proxy.requests if request.command == "PUT"]) == sent
    (folder / "extra.txt").write_text("more")
    assert publish(folder, model=model, bump="minor")["version"] == "0.2.0"


def test_progress_counts_the_bytes_that_the_registry_lacks(model: str, folder: Path) -> None:
    (folder / "large.bin").write_bytes(os.urandom(700_000))
    seen: list[tuple[int, int]] = []
    publish(folder, model=model, version="1.0.0", progress=lambda sent, total: seen.append((sent, total)))
    total = 500_000 + 700_000 + (folder / "metadata.json").stat().st_size
    assert len(seen) > 3 and seen == sorted(seen)
    assert {of for _, of in seen} == {total} and seen[-1][0] == total
    seen.clear()
    (folder / "more.bin").write_bytes(os.urandom(10))
    publish(folder, model=model, version="1.1.0", progress=lambda sent, total: seen.append((sent, total)))
    assert seen == [(10, 10)]
    publish(folder, model=model, version="1.2.0", progress=lambda sent, total: pytest.fail("nothing was to be sent"))


def test_an_error_in_progress_ends_the_call(model: str, folder: Path) -> None:
    def broken(sent: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish(folder, model=model, version="1.0.0", progress=broken)
    assert publish(folder, model=model, version="1.0.0")["version"] == "1.0.0"


def put_paths(proxy: Proxy) -> list[str]:
    return [request.path for request in proxy.requests if request.command == "PUT"]


def test_after_a_broken_upload_the_next_call_sends_only_the_rest(model: str, folder: Path, proxy: Proxy) -> None:
    def cut(exchange: Exchange) -> bool:
        """Breaks the upload of the large file when the other one is there; this registry keeps no uploads."""
        if "/uploads/" in exchange.path:
            exchange.answer(404, b'{"code":"not-found","detail":"There is no such route."}')
            return True
        if exchange.command != "PUT" or len(exchange.sent) < 500_000:
            return False
        eventually(lambda: len(put_paths(proxy)) == 2)
        exchange.connection.shutdown(socket.SHUT_RDWR)
        return True

    proxy.rule = cut
    with pytest.raises(RegistryUnreachable):
        publish(folder, model=model, version="1.0.0", dsn=proxy.url)
    assert len(put_paths(proxy)) == 2
    proxy.rule = None
    proxy.requests.clear()
    assert publish(folder, model=model, version="1.0.0", dsn=proxy.url)["version"] == "1.0.0"
    digest = hashlib.sha256((folder / "model.joblib").read_bytes()).hexdigest()
    assert put_paths(proxy) == [f"/api/blobs/sha256:{digest}"]


def test_an_upload_that_breaks_again_and_again_sends_every_byte_about_once(
    registry: RegistryProcess, model: str, folder: Path
) -> None:
    size, part = 24_000_000, 6_000_000
    (folder / "large.bin").write_bytes(os.urandom(size))
    seen: list[tuple[int, int]] = []
    with CuttingProxy(registry.url, part, times=3) as proxy:
        publish(
            folder,
            model=model,
            version="1.0.0",
            dsn=proxy.url,
            progress=lambda sent, total: seen.append((sent, total)),
        )
        assert proxy.cuts == 0
        assert size < proxy.received < size + 3_500_000  # without going on it would be 18 MB more
    assert seen[-1][0] == seen[-1][1]
    assert max(sent for sent, _ in seen) == seen[-1][1]
    stored = registry.volume / "blobs" / "sha256" / hashlib.sha256((folder / "large.bin").read_bytes()).hexdigest()
    assert stored.stat().st_size == size


def steps(monkeypatch: pytest.MonkeyPatch, folder: Path, *answers: Any) -> tuple[list[str], list[int]]:
    """Sends a file of ten bytes to a registry that answers with these steps; returns its requests and the progress."""
    monkeypatch.setattr("signalbox_registry.upload.PAUSES", (0.0, 0.0))
    left, requests, counted = list(answers), [], [0]

    def call(self: Client, method: str, path: str, **how: Any) -> Any:
        offset = (how.get("headers") or {}).get("Upload-Offset", "")
        requests.append(f"{method} {path.split('/')[2]} {offset}".strip())
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        list(how.get("content") or [])
        return answer

    monkeypatch.setattr(Client, "call", call)
    (folder / "ten").write_bytes(b"0123456789")
    with Client(Registry.of(None, None)) as client:
        send_file(client, "sha256:00", folder / "ten", lambda size: counted.append(counted[-1] + size))
    assert left == []
    return requests, counted


def away() -> RegistryUnreachable:
    return RegistryUnreachable("There is no answer.")


def at(offset: int, complete: bool = False) -> dict[str, Any]:
    return {"upload_offset": offset, "upload_complete": complete}


def test_an_upload_goes_on_or_begins_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = Problem("store-unavailable", 503, "because")
    altered, moved = Problem("checksum-mismatch", 400, "x"), Problem("mismatching-upload-offset", 409, "x")
    cases: list[tuple[list[Any], str]] = [
        ([None], "PUT blobs"),
        ([away(), at(4), None], "PATCH uploads 4"),
        ([broken, at(10), None], "PATCH uploads 10"),
        ([away(), at(10, complete=True)], "GET uploads"),
        ([away(), at(4), altered, at(0), None], "PUT blobs"),
        ([away(), at(4), moved, at(3), None], "PATCH uploads 3"),
        ([away(), away(), at(1), away(), away(), at(2), away(), away(), at(3), None], "PATCH uploads 3"),
    ]
    for answers, last in cases:
        requests, counted = steps(monkeypatch, tmp_path, *answers)
        assert (requests[-1], counted[-1]) == (last, 10)


def test_an_upload_ends_if_it_cannot_go_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cases: list[tuple[type[Exception], list[Any]]] = [
        (Problem, [Problem("checksum-mismatch", 400, "x")]),
        (Problem, [Problem("volume-full", 507, "x")]),
        (Problem, [Problem("forbidden", 403, "x")]),
        (RegistryUnreachable, [away(), Problem("not-found", 404, "x")]),
        (RegistryUnreachable, [away(), Problem("method-not-allowed", 405, "x")]),
        (RegistryUnreachable, [away(), at(4), away(), at(4), away(), at(4), away()]),
    ]
    for kind, answers in cases:
        with pytest.raises(kind):
            steps(monkeypatch, tmp_path, *answers)


def test_a_caller_that_may_not_ask_for_files_sends_all_of_them(model: str, folder: Path, proxy: Proxy) -> None:
    publish(folder, model=model, version="1.0.0")

    def refuse(exchange: Exchange) -> bool:
        asks = exchange.command in ("HEAD", "GET") and "/blobs/" in exchange.path
        if asks:
            exchange.answer(403, b'{"code":"forbidden","detail":"The permission is missing."}')
        return asks

    proxy.rule = refuse
    assert publish(folder, model=model, version="1.1.0", dsn=proxy.url)["version"] == "1.1.0"
    assert len([request for request in proxy.requests if request.command == "PUT"]) == 2


def test_refusals_are_problems_with_a_code(model: str, folder: Path) -> None:
    publish(folder, model=model, version="1.0.0")
    with pytest.raises(Problem) as refused:
        publish(folder, model=model, version="1.0.0", flavor="other")
    assert (refused.value.code, refused.value.status) == ("version-exists", 409)
    assert refused.value.fields["version"] == "1.0.0"
    with pytest.raises(Problem) as unknown:
        activate("9.9.9", "production", model=model)
    assert unknown.value.code == "unknown-version"
    with pytest.raises(Problem) as nothing:
        rollback("production", "why not", model=model)
    assert nothing.value.code == "nothing-to-roll-back"


def test_an_invalid_folder_is_refused_before_anything_is_sent(model: str, folder: Path) -> None:
    with pytest.raises(ValueError, match="version or bump"):
        publish(folder, model=model)
    (folder / "link").symlink_to("/etc/passwd")
    with pytest.raises(ValueError, match="link is a link"):
        publish(folder, model=model, version="1.0.0")
    (folder / "link").unlink()
    (folder / "venv").mkdir()
    (folder / "venv" / "pyvenv.cfg").write_text("home = /usr/bin")
    with pytest.raises(ValueError, match="venv is a Python virtual environment"):
        publish(folder, model=model, version="1.0.0")
    (folder / "venv" / "pyvenv.cfg").unlink()
    (folder / "metadata.json").write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        publish(folder, model=model, version="1.0.0")
    with pytest.raises(FileNotFoundError):
        publish(folder / "absent", model=model, version="1.0.0")


def test_moves(model: str) -> None:
    publish_value(model, "1.0.0", 1)
    publish_value(model, "1.1.0", 2)
    dry = activate("1.0.0", "staging", model=model, dry_run=True)
    assert (dry["dry_run"], dry["active"]["version"]) == (True, "1.0.0")
    assert activate("1.0.0", "staging", model=model, expected_active=None)["previous"] is None
    with pytest.raises(Problem) as changed:
        activate("1.1.0", "staging", model=model, expected_active="0.9.0")
    assert changed.value.code == "active-changed"
    activate("1.1.0", "staging", model=model, expected_active="1.0.0", reason="better", force=True)
    back = rollback("staging", "worse", model=model, to_version="1.0.0", expected_active="1.1.0", override=["runtime"])
    assert back["active"]["version"] == "1.0.0"
    assert deactivate("staging", "done", model=model)["active"] is None


def test_the_command_line(model: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        code = main([*arguments, "-m", model])
        return code, capsys.readouterr().out

    assert run("publish", str(folder), "--bump", "major")[0] == 0
    code, output = run("publish", str(folder), "--version", "1.1.0", "--notes", "same", "--json")
    assert (code, json.loads(output)["version"]) == (0, "1.1.0")
    assert run("latest") == (0, "1.1.0\n")
    code, output = run("activate", "1.0.0", "--env", "production", "--expect", "none")
    assert (code, output.split(" (")[0]) == (0, "production went from none to 1.0.0")
    assert run("activate", "1.0.0", "--env", "production") == (0, "1.0.0 is already active in production.\n")
    assert run("activate", "1.1.0", "--env", "production", "--expect", "1.1.0")[0] == 3
    assert (
        run("activate", "1.1.0", "--env", "production", "--dry-run")[1] == "production would go from 1.0.0 to 1.1.0.\n"
    )
    assert run("activate", "1.1.0", "--env", "production")[0] == 0
    assert run("rollback", "--env", "production", "--reason", "worse", "--to", "1.0.0")[0] == 0
    code, output = run("list")
    assert (code, output) == (0, "1.1.0  ready  -\n1.0.0  ready  production\n")
    assert [entry["version"] for entry in json.loads(run("list", "--json")[1])["versions"]] == ["1.1.0", "1.0.0"]
    assert run("deactivate", "--env", "production", "--reason", "done")[0] == 0
    assert run("activate", "9.9.9", "--env", "production")[0] == 4
    assert run("publish", str(folder / "absent"), "--version", "1.0.0")[0] == 1


@pytest.mark.parametrize("terminal", [True, False])
def test_the_command_line_draws_a_bar_on_a_terminal(
    model: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    assert main(["publish", str(folder), "--version", "1.0.0", "-m", model]) == 0
    bar = f"\rSending {'█' * 30} 100 % of 0.5 MB\n"
    assert (bar in capsys.readouterr().err) is terminal


def test_the_command_line_prints_the_required_runtime(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def required(version: str, *flags: str) -> tuple[Any, str]:
        assert main(["publish", str(tmp_path), "--version", version, "-m", model, "--json", *flags]) == 0
        output = capsys.readouterr()
        return json.loads(output.out)["manifest"]["requires"], output.err

    (tmp_path / "model.joblib").write_bytes(os.urandom(100))
    wanted, note = required("1.0.0")
    assert wanted == environment("joblib", "scikit-learn")
    assert f"It requires the runtime of this process: python {wanted['python']}, joblib " in note
    assert required("1.1.0", "--no-requires") == ({}, "")


def test_wrong_usage_and_an_unreachable_registry_have_their_own_exit_codes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong in (["publish", str(folder)], ["activate", "1.0.0"], ["rollback", "--env", "production"], []):
        with pytest.raises(SystemExit) as usage:
            main(wrong)
        assert usage.value.code == 2
    capsys.readouterr()
    monkeypatch.setenv("REGISTRY_VOLUME", "/nowhere")
    for verb in (["latest"], ["publish", str(folder), "--version", "1.0.0"]):
        assert main(verb) == 1
        output = capsys.readouterr().err
        assert output.startswith("signalbox: No token, and no secret at /nowhere/.signalbox/secret. Set REGISTRY_TOKEN")
        assert output.count("\n") == 1
    monkeypatch.setenv("REGISTRY_TOKEN", "any")
    monkeypatch.setenv("REGISTRY_DSN", "http://127.0.0.1:1")
    assert main(["latest"]) == 5
    assert "There is no answer from http://127.0.0.1:1" in capsys.readouterr().err


def test_an_answer_that_is_not_from_a_registry_raises_unreachable(model: str, proxy: Proxy) -> None:
    def page(exchange: Any) -> bool:
        exchange.answer(200, b"<html>")
        return True

    proxy.rule = page
    with pytest.raises(RegistryUnreachable, match="not from a registry"):
        activate("1.0.0", "production", model=model, dsn=proxy.url)


def test_a_local_token_is_sent_only_to_a_registry_on_this_machine(
    registry: RegistryProcess, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for remote in ("http://registry.example", "http://127.0.0.1.example.org", "http://127.example.org"):
        with pytest.raises(Problem) as refused:
            activate("1.0.0", "production", model=model, dsn=remote)
        assert refused.value.code == "unauthenticated"
    monkeypatch.setenv("REGISTRY_VOLUME", "/nowhere")
    with pytest.raises(Problem, match="no secret at /nowhere"):
        activate("1.0.0", "production", model=model)
    secret = (registry.volume / ".signalbox" / "secret").read_bytes().strip()
    assert publish_value(model, "1.0.0", 1, token=sign(secret, "ana", "admin"))["published_by"] == "ana"
    with pytest.raises(Problem) as forbidden:
        activate("1.0.0", "production", model=model, token=sign(secret, "ana", "user"))
    assert forbidden.value.code == "forbidden"
    with pytest.raises(Problem) as expired:
        activate("1.0.0", "production", model=model, token=sign(secret, "ana", "admin", seconds=-60))
    assert expired.value.code == "unauthenticated"


def test_a_local_token_is_renewed_before_it_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "time", lambda: 1_000_000 + now[0])
    auth = Tokens(Registry.of(None, None))

    def token(status: int = 200) -> str:
        flow = auth.auth_flow(httpx.Request("GET", "http://127.0.0.1:8080/"))
        sent = next(flow).headers["Authorization"]
        with pytest.raises(StopIteration):
            flow.send(httpx.Response(status))
        return sent

    first = token()
    now[0] = 200
    assert token() == first
    now[0] = 301
    second = token(status=401)
    assert second != first
    now[0] = 302
    assert token() != second
