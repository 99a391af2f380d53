"""Publishes, activates and lists the versions of a model in a Signalbox registry."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .client import Client, versions_path
from .config import Registry, model_name
from .describe import describe
from .errors import Problem, RegistryUnreachable
from .folder import list_files
from .moves import UNSET, activate, deactivate, rollback
from .publish import publish
from .registry import ModelRegistry

DONE, FAILED, USAGE, REFUSED, NOT_FOUND, UNREACHABLE = range(6)

EPILOG = (
    "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused by a rule or a permission, 4 not found, "
    "5 the registry or its log is unavailable."
)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], None] = options.run
    try:
        run(options)
    except Exception as error:
        print(f"signalbox: {error}", file=sys.stderr)
        return _exit_code(error)
    return DONE


def _exit_code(error: Exception) -> int:
    if isinstance(error, RegistryUnreachable):
        return UNREACHABLE
    if not isinstance(error, Problem):
        return FAILED
    if error.status == 404:
        return NOT_FOUND
    if error.status == 503:
        return UNREACHABLE
    return REFUSED if error.status in (403, 409, 422, 429) else FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m signalbox_registry", description=__doc__, epilog=EPILOG)
    verbs = parser.add_subparsers(required=True, metavar="verb")

    verb = _verb(verbs, "publish", "publish a folder as a version", _publish)
    verb.add_argument("folder")
    number = verb.add_mutually_exclusive_group(required=True)
    number.add_argument("--version")
    number.add_argument("--bump", choices=["major", "minor", "patch"], help="the next version after the highest one")
    verb.add_argument("--notes")
    verb.add_argument(
        "--no-requires",
        action="store_true",
        help="if no file states the required runtime, do not require the Python and packages of this process",
    )

    verb = _verb(verbs, "activate", "activate a version in an environment", _activate)
    verb.add_argument("version")
    _environment(verb)
    verb.add_argument("--reason", help="the reason, recorded in the history")
    verb.add_argument("--expect", metavar="VERSION", help='fail unless this version is active now; "none": no version')
    verb.add_argument("--dry-run", action="store_true")
    verb.add_argument("--force", action="store_true", help="ignore the limit of activations per minute")

    verb = _verb(verbs, "rollback", "undo the newest activation or deactivation of an environment", _rollback)
    _environment(verb)
    verb.add_argument("--reason", required=True, help="the reason, recorded in the history")
    verb.add_argument("--to", metavar="VERSION", help="go back to the last time this version was active")
    verb.add_argument("--override-runtime", action="store_true", help="even if the declared runtime cannot load it")
    verb.add_argument("--dry-run", action="store_true")

    verb = _verb(verbs, "deactivate", "leave an environment without an active version", _deactivate)
    _environment(verb)
    verb.add_argument("--reason", required=True, help="the reason, recorded in the history")

    _verb(verbs, "list", "list the versions, newest first", _list)
    _verb(verbs, "latest", "print the latest version", _latest)
    return parser


def _verb(verbs: Any, name: str, help: str, run: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser(name, help=help, description=help)
    verb.add_argument("-m", "--model", help="the model (default: REGISTRY_MODEL, or default)")
    verb.add_argument("--json", action="store_true", help="print the registry's answer as JSON")
    verb.set_defaults(run=run)
    return verb


def _environment(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("-e", "--env", required=True, help="the environment, for example production")


def _publish(given: argparse.Namespace) -> None:
    recorded = describe(list_files(Path(given.folder))).process_requires
    published = publish(
        given.folder,
        model=given.model,
        version=given.version,
        bump=given.bump,
        requires={} if recorded and given.no_requires else None,
        notes=given.notes,
        progress=progress_bar("Sending"),
    )
    text = f"{published['model']} {published['version']} is published (revision {published['revision']})."
    _print(given, published, text)
    if recorded and not given.no_requires:
        named = {"python": recorded["python"], **recorded.get("packages", {})}
        wanted = ", ".join(f"{name} {constraint}" for name, constraint in named.items())
        note = f"It requires the runtime of this process: {wanted}. Publish with --no-requires to require nothing."
        print(note, file=sys.stderr)


def progress_bar(label: str) -> Callable[[int, int], None] | None:
    """Returns a function that draws a bar on standard error; None if that is not a terminal."""
    if not sys.stderr.isatty():
        return None
    shown = ""

    def draw(sent: int, total: int) -> None:
        nonlocal shown
        bar = ("█" * round(sent / total * 30)).ljust(30, "░")
        line = f"{label} {bar} {sent * 100 // total} % of {total / 1e6:.1f} MB"
        if line != shown:
            print(f"\r{line}", end="\n" if sent >= total else "", file=sys.stderr, flush=True)
        shown = line

    return draw


def _activate(given: argparse.Namespace) -> None:
    expected = None if given.expect == "none" else given.expect or UNSET
    try:
        move = activate(
            given.version,
            given.env,
            model=given.model,
            reason=given.reason,
            expected_active=expected,
            dry_run=given.dry_run,
            force=given.force,
        )
    except Problem as problem:
        if problem.code != "already-active":
            raise
        text = f"{given.version} is already active in {given.env}."
        return _print(given, {"code": problem.code, **problem.fields}, text)
    _print_move(given, move)


def _rollback(given: argparse.Namespace) -> None:
    override = ["runtime"] if given.override_runtime else []
    move = rollback(
        given.env, given.reason, to_version=given.to, model=given.model, dry_run=given.dry_run, override=override
    )
    _print_move(given, move)


def _deactivate(given: argparse.Namespace) -> None:
    _print_move(given, deactivate(given.env, given.reason, model=given.model))


def _list(given: argparse.Namespace) -> None:
    with ModelRegistry(given.model) as registry:
        versions = list(registry.versions())
    rows = [f"{entry['version']}  {entry['status']}  {','.join(entry['active_in']) or '-'}" for entry in versions]
    _print(given, {"versions": versions}, "\n".join(rows))


def _latest(given: argparse.Namespace) -> None:
    with Client(Registry.of(None, None)) as client:
        version = client.call("GET", f"{versions_path(model_name(given.model))}/latest")
    _print(given, version, version["version"])


def _print_move(given: argparse.Namespace, move: dict[str, Any]) -> None:
    def name(version: dict[str, Any] | None) -> str:
        return str(version["version"]) if version else "none"

    verb, at = ("would go", "") if move["dry_run"] else ("went", f" (revision {move['revision']})")
    text = f"{move['environment']} {verb} from {name(move['previous'])} to {name(move['active'])}{at}."
    _print(given, move, text)
    for warning in move["warnings"]:
        print(f"Warning: {warning}", file=sys.stderr)


def _print(given: argparse.Namespace, answer: object, text: str) -> None:
    print(json.dumps(answer, indent=2) if given.json else text)


if __name__ == "__main__":
    sys.exit(main())
