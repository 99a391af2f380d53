"""The state machine of one loader: takes the target from the registry, loads it and swaps it in."""

from __future__ import annotations

import logging
import math
import os
import re
import secrets
import socket
import threading
import time
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from .cache import Cache
from .cancellation import Cancellation
from .client import Client, describe_error
from .errors import Cancelled, LoadError, NotReady, UnsafeCacheFolder
from .fetch import Fetched, Fetcher, LegacyFiles
from .last_good import LastGood, read_last_good
from .loaded_version import Lease
from .loading import Loading, LoadResult
from .manifest import hex_of
from .options import Options
from .position import Acceptance, Message, Position, Target, acceptance_of
from .reporter import Reporter
from .requires import required_packages, runtime
from .source import Source
from .standing import Failure, Goal, Serving, Standing, now
from .waiting import Backoff, jittered

M = TypeVar("M")

#: How long to wait for the registry before the last good version is used.
SILENCE_SECONDS = 2.0
UPKEEP_SECONDS = 3600.0
CLOSE_SECONDS = 5.0

log = logging.getLogger("signalbox_registry")


@dataclass(eq=False)
class Attempt:
    goal: Goal
    cancellation: Cancellation = field(default_factory=Cancellation)


class Engine(Generic[M]):
    def __init__(self, options: Options[M], inherited: Serving[M] | None = None) -> None:
        self._options = options
        self._instance = instance_name()
        #: Guards the state below, and is notified of its changes.
        self._changed = threading.Condition()
        self._standing = Standing(options.model, options.environment, inherited)
        self._position: Position | None = None
        self._last_good: LastGood | None = None
        self._attempt: Attempt | None = None
        #: When the goal is tried next; None: it is reached or given up.
        self._due: float | None = None
        self._backoff = Backoff(1.0, 60.0)
        self._disconnect_reason = "it has not answered yet"
        self._packages = required_packages(inherited.loaded.manifest) if inherited else []
        self._cache = Cache(options.cache_dir, options.cache_bytes)
        self._last_good_file = self._cache.last_good(options.model, options.environment)
        self._client = Client(options.registry)
        self._fetcher = Fetcher(self._client, self._cache, self._instance, options.volume)
        self._loading = Loading(options, self._fetch)
        self._source = Source(options.endpoint, options.model, self._client, self)
        self._reporter = Reporter(self._client, options.model, self._instance, self.status)
        self._threads = [threading.Thread(target=self._work, name="signalbox-load", daemon=True)]

    def start(self) -> None:
        if self._options.legacy:
            with self._changed:
                self._standing.last_contact = math.inf  # never stale: no registry is contacted
                self._set_goal(Goal(0, Target("legacy", "", 0)))
        else:
            self._prepare_cache()
            self._last_good = read_last_good(self._last_good_file)
            self._position = self._last_good.position if self._last_good else None
            self._threads += [*self._source.threads, self._reporter.thread]
        for thread in self._threads:
            thread.start()

    def _prepare_cache(self) -> None:
        try:
            self._cache.prepare()
        except UnsafeCacheFolder:
            self._client.close()
            raise
        except OSError as error:  # a full disk may have space again before the first fetch
            log.warning("The cache folder cannot be prepared: %s", error)

    # Called by the service.

    def lease(self) -> Lease[M]:
        while serving := self._standing.serving:
            if lease := serving.loaded.lend():
                return lease
        raise NotReady(self._why_not())

    def ready(self, timeout: float | None) -> None:
        standing = self._standing
        with self._changed:
            self._changed.wait_for(lambda: standing.serving or standing.closed or self._has_given_up(), timeout)
        if not standing.serving:
            raise NotReady(self._why_not())

    def status(self) -> dict[str, Any]:
        facts = runtime(self._packages)
        cache = {"hits": self._fetcher.hits, "misses": self._fetcher.misses}
        with self._changed:
            return {**self._standing.report(), "runtime": facts, "cache": cache}

    def inherit(self) -> Serving[M] | None:
        """Returns the version that served in the parent process, for use after a fork."""
        serving = self._standing.serving
        return serving and replace(serving, loaded=serving.loaded.in_child(), confirmed=False)

    def close(self) -> None:
        with self._changed:
            if self._standing.closed:
                return
            self._standing.closed = True
            if self._attempt:
                self._attempt.cancellation.cancel()
            self._changed.notify_all()
        self._source.close()
        self._reporter.close()
        deadline = time.monotonic() + CLOSE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        with self._changed:
            serving, self._standing.serving = self._standing.serving, None
        if serving:
            serving.loaded.retire()
        # A thread that still waits for an answer uses the client, and ends with its own time-out.
        if not any(thread.is_alive() for thread in self._threads):
            self._client.close()

    def _has_given_up(self) -> bool:
        return self._standing.failure is not None and self._due is None and self._attempt is None

    def _why_not(self) -> str:
        with self._changed:
            silent = not self._standing.closed and self._standing.goal is None and not self._standing.diverged
            if silent:
                return f"No answer from {self._options.endpoint} yet: {self._disconnect_reason}."
            return self._standing.why_nothing_serves()

    # Called by the source.

    def last_id(self) -> str:
        position = self._position
        return position.id if position else ""

    def deliver(self, message: Message) -> Acceptance:
        with self._changed:
            standing = self._standing
            standing.last_contact = time.monotonic()
            acceptance = acceptance_of(self._position, message)
            if acceptance is not Acceptance.SKIPPED:
                standing.diverged = acceptance is Acceptance.DIVERGED
            if acceptance is Acceptance.ACCEPTED:
                self._position = message.position
                standing.registry_stale = message.stale
                goal = self._goal_in(message)
                if goal != standing.goal:
                    self._log_goal(goal)
                    self._set_goal(goal)
            self._notice()
        return acceptance

    def contacted(self) -> None:
        with self._changed:
            self._standing.last_contact = time.monotonic()
            self._notice()

    def disconnected(self, why: str) -> None:
        self._disconnect_reason = why

    def _goal_in(self, message: Message) -> Goal:
        environment, generation = self._options.environment, message.position.generation
        if environment in message.active:
            return Goal(generation, message.active[environment])
        known = ", ".join(message.active)
        return Goal(generation, None, f"There is no environment {environment}; there are {known}.")

    def _log_goal(self, goal: Goal) -> None:
        model, environment, target = self._options.model, self._options.environment, goal.target
        if goal.refusal:
            log.warning("%s", goal.refusal)
        elif target is None:
            log.info("%s: no version is active in %s", model, environment)
        else:
            log.info("%s %s is active in %s (revision %s)", model, target.version, environment, target.revision)

    def _set_goal(self, goal: Goal) -> None:
        """Call with the lock held."""
        if self._attempt and not goal.same_content(self._attempt.goal):
            self._attempt.cancellation.cancel()
        self._standing.goal = goal
        self._standing.failure = None
        if goal.refusal:
            self._standing.failure = Failure(LoadError("unknown-environment", goal.refusal), now())
        self._backoff.reset()
        self._due = time.monotonic()
        self._notice()

    def _notice(self) -> None:
        """Reports a change of state, if there is one. Call with the lock held."""
        if self._standing.has_changed():
            self._reporter.changed()
        self._changed.notify_all()

    # Runs in the loading thread.

    def _work(self) -> None:
        self._wait_for_goal()
        upkeep = time.monotonic() + jittered(UPKEEP_SECONDS)
        while not self._standing.closed:
            attempt = self._next_attempt(upkeep)
            if attempt:
                self._make(attempt)
            if time.monotonic() >= upkeep:
                self._tidy()
                upkeep = time.monotonic() + jittered(UPKEEP_SECONDS)
        if not self._options.legacy:
            self._remember()
            self._fetcher.close()

    def _wait_for_goal(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._standing.goal or self._standing.closed, SILENCE_SECONDS)
            if self._standing.goal is None and self._last_good:
                last = self._last_good
                self._set_goal(Goal(last.position.generation, last.target, from_disk=True))

    def _next_attempt(self, until: float) -> Attempt | None:
        """Waits until the goal is to be tried, or until the time `until`."""
        with self._changed:
            while not self._standing.closed and time.monotonic() < until:
                if self._standing.goal and self._due is not None and self._due <= time.monotonic():
                    self._due = None
                    self._attempt = Attempt(self._standing.goal)
                    return self._attempt
                self._changed.wait((until if self._due is None else min(until, self._due)) - time.monotonic())
        return None

    def _make(self, attempt: Attempt) -> None:
        try:
            self._reach(attempt)
        except Cancelled:
            pass
        except Exception as error:  # if this thread ended, the loader would never load again
            log.exception("Loading failed")
            self._fail(attempt.goal, LoadError("fetch-failed", describe_error(error)))
        finally:
            with self._changed:
                self._attempt = None
                self._standing.phase = None
                self._notice()

    def _reach(self, attempt: Attempt) -> None:
        goal, failure = attempt.goal, self._standing.failure
        if goal.target is None or self._standing.serves(goal.target):
            self._confirm(goal)
        elif failure is None or not failure.error.permanent:
            try:
                result = self._load(goal.target, attempt)
            except LoadError as error:
                self._fail(goal, error)
            else:
                self._swap(goal, result)
        if self._standing.failure:
            self._fall_back(attempt)

    def _load(self, target: Target, attempt: Attempt, quietly: bool = False) -> LoadResult[M]:
        def enter(phase: str) -> None:
            with self._changed:
                # An abandoned hydrate must not change the phase.
                if self._attempt is attempt and not quietly:
                    self._standing.phase = phase
                    self._notice()

        return self._loading.load(target, attempt.cancellation, enter)

    def _fetch(self, target: Target, cancellation: Cancellation) -> Fetched:
        if self._options.legacy:
            return Fetched({}, LegacyFiles(self._options.legacy))
        fetched = self._fetcher.fetch(self._options.model, target, cancellation)
        self._packages = required_packages(fetched.manifest)
        return fetched

    def _confirm(self, goal: Goal) -> None:
        """Called when the goal needs no load: it is served already, or nothing is active."""
        with self._changed:
            serving = self._standing.serving
            if goal.target and serving:
                self._standing.serving = replace(serving, target=goal.target, confirmed=not goal.from_disk)
        self._remember()

    def _swap(self, tried: Goal, result: LoadResult[M]) -> None:
        with self._changed:
            before, goal = self._standing.serving, self._standing.goal
            # The goal may have been replaced by another one with the same content.
            wanted = not self._standing.closed and tried.same_content(goal)
            if wanted and goal and goal.target:
                self._standing.failure = None
                self._serve(result, goal.target, confirmed=not goal.from_disk)
        if not wanted:
            return result.loaded.retire()
        if before:
            before.loaded.retire()
        self._remember()
        self._tidy()

    def _serve(self, result: LoadResult[M], target: Target, confirmed: bool) -> None:
        """Call with the lock held."""
        before = self._standing.serving
        self._standing.serving = Serving(result.loaded, target, confirmed, result.load_ms, result.warm_up_ms)
        self._standing.phase = None
        log.info(
            "%s %s serves%s (revision %s, request %s)",
            self._options.model,
            target.version,
            f" in place of {before.target.version}" if before else "",
            target.revision,
            target.request_id,
        )
        self._notice()

    def _fail(self, goal: Goal, error: LoadError) -> None:
        log.warning("%s cannot be loaded: %s: %s", goal.target and goal.target.version, error.code, error)
        with self._changed:
            self._standing.phase = None
            if self._standing.goal is not goal:
                return  # a newer goal is tried next
            self._standing.failure = Failure(error, now())
            if not error.permanent and not self._loading.exhausted:
                self._retry()
            self._notice()

    def _fall_back(self, attempt: Attempt) -> None:
        """Loads the last good version of an earlier process, if nothing serves."""
        last = self._last_good
        if self._standing.serving or last is None or last.target.same_content(attempt.goal.target):
            return
        try:
            result = self._load(last.target, attempt, quietly=True)
        except LoadError as error:
            log.warning("The last good %s cannot be loaded either: %s: %s", last.target.version, error.code, error)
            with self._changed:
                if self._standing.goal is attempt.goal and self._due is None and not error.permanent:
                    self._retry()
            return
        with self._changed:
            wanted = not self._standing.closed
            if wanted:
                self._serve(result, last.target, confirmed=False)
        if not wanted:
            result.loaded.retire()

    def _retry(self) -> None:
        self._due = time.monotonic() + jittered(self._backoff.next())

    # Kept on disk for the next start.

    def _remember(self) -> None:
        """Writes the last position and the last version that served and was confirmed by the registry."""
        with self._changed:
            serving, last, position = self._standing.serving, self._last_good, self._position
        good = serving if serving and serving.confirmed else last
        if good is None or position is None or LastGood(position, good.target) == last:
            return
        last = LastGood(position, good.target)
        try:
            self._cache.prepare()
            self._cache.write(self._last_good_file, last.encode())
            self._last_good = last
        except (OSError, UnsafeCacheFolder) as error:
            log.warning("%s cannot be written: %s", self._last_good_file, error)

    def _tidy(self) -> None:
        """Marks the versions in use as used, and deletes others if the cache is over its limit."""
        if self._options.legacy:
            return
        holders = (self._standing.serving, self._standing.goal, self._last_good)
        in_use = {hex_of(holder.target.manifest_digest) for holder in holders if holder and holder.target}
        try:
            for hex in in_use:
                self._cache.touch(hex)
            self._cache.sweep(in_use)
        except OSError as error:
            log.info("The cache was not swept: %s", error)


def instance_name() -> str:
    host = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:60]
    return f"{host}-{os.getpid()}-{secrets.token_hex(2)}"
