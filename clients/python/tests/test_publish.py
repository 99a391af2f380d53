"""What a training pipeline does, against a real registry."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from signalbox_registry import Problem, RegistryUnreachable, activate, deactivate, publish, rollback
from signalbox_registry.__main__ import main
from signalbox_registry.config import Registry
from signalbox_registry.tokens import Tokens, sign
from support import Proxy, RegistryProcess, publish_value


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
    }
    (folder / "metadata.json").write_text(json.dumps(metadata))
    return folder


def test_a_folder_becomes_a_version(model: str, folder: Path, proxy: Proxy) -> None:
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


def test_a_repeated_call_publishes_and_sends_nothing_twice(model: str, folder: Path, proxy: Proxy) -> None:
    first = publish(folder, model=model, bump="minor", dsn=proxy.url)
    sent = len([request for request in proxy.requests if request.command == "PUT"])
    again = publish(folder, model=model, bump="minor", dsn=proxy.url)
    assert first["version"] == again["version"] == "0.1.0"
    assert first["revision"] == again["revision"]
    assert len([request for request in proxy.requests if request.command == "PUT"]) == sent
    (folder / "extra.txt").write_text("more")
    assert publish(folder, model=model, bump="minor")["version"] == "0.2.0"


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


def test_bad_folders_are_refused_before_anything_is_sent(model: str, folder: Path) -> None:
    with pytest.raises(ValueError, match="version or bump"):
        publish(folder, model=model)
    (folder / "link").symlink_to("/etc/passwd")
    with pytest.raises(ValueError, match="neither a file nor a folder"):
        publish(folder, model=model, version="1.0.0")
    (folder / "link").unlink()
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
    code, said = run("publish", str(folder), "--version", "1.1.0", "--notes", "same", "--json")
    assert (code, json.loads(said)["version"]) == (0, "1.1.0")
    assert run("latest") == (0, "1.1.0\n")
    code, said = run("activate", "1.0.0", "--env", "production", "--expect", "none")
    assert (code, said.split(" (")[0]) == (0, "production went from none to 1.0.0")
    assert run("activate", "1.0.0", "--env", "production") == (0, "1.0.0 is active in production already.\n")
    assert run("activate", "1.1.0", "--env", "production", "--expect", "1.1.0")[0] == 3
    assert (
        run("activate", "1.1.0", "--env", "production", "--dry-run")[1] == "production would go from 1.0.0 to 1.1.0.\n"
    )
    assert run("activate", "1.1.0", "--env", "production")[0] == 0
    assert run("rollback", "--env", "production", "--reason", "worse", "--to", "1.0.0")[0] == 0
    code, said = run("list")
    assert (code, said) == (0, "1.1.0  ready  -\n1.0.0  ready  production\n")
    assert [entry["version"] for entry in json.loads(run("list", "--json")[1])["versions"]] == ["1.1.0", "1.0.0"]
    assert run("deactivate", "--env", "production", "--reason", "done")[0] == 0
    assert run("activate", "9.9.9", "--env", "production")[0] == 4
    assert run("publish", str(folder / "absent"), "--version", "1.0.0")[0] == 1


def test_wrong_usage_and_an_absent_registry_have_codes_of_their_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong in (["publish", str(folder)], ["activate", "1.0.0"], ["rollback", "--env", "production"], []):
        with pytest.raises(SystemExit) as usage:
            main(wrong)
        assert usage.value.code == 2
    monkeypatch.setenv("REGISTRY_DSN", "http://127.0.0.1:1")
    assert main(["latest"]) == 5
    assert "There is no answer from http://127.0.0.1:1" in capsys.readouterr().err


def test_what_is_no_registry_is_unreachable(model: str, proxy: Proxy) -> None:
    def page(exchange: Any) -> bool:
        exchange.answer(200, b"<html>")
        return True

    proxy.rule = page
    with pytest.raises(RegistryUnreachable, match="not as a registry does"):
        activate("1.0.0", "production", model=model, dsn=proxy.url)


def test_a_local_token_is_signed_for_a_registry_on_this_machine_alone(
    registry: RegistryProcess, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for elsewhere in ("http://registry.example", "http://127.0.0.1.example.org", "http://127.example.org"):
        with pytest.raises(Problem) as refused:
            activate("1.0.0", "production", model=model, dsn=elsewhere)
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


def test_a_local_token_is_made_anew_before_it_expires(monkeypatch: pytest.MonkeyPatch) -> None:
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
