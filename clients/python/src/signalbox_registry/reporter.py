"""Reports the status of this loader to the registry, for operators."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import httpx

from .client import Client, segment
from .errors import Problem, SignalboxError
from .waiting import jittered

REPORT_SECONDS = 30.0
REPORT_TIMEOUT = httpx.Timeout(5.0)
LAST_REPORT_TIMEOUT = httpx.Timeout(2.0)

log = logging.getLogger("signalbox_registry")


class Reporter:
    """Reports on every change and every 30 seconds. A failed report is replaced by the next one."""

    def __init__(self, client: Client, model: str, instance: str, status: Callable[[], dict[str, Any]]) -> None:
        self._client = client
        self._path = f"/api/models/{segment(model)}/loaders/{segment(instance)}"
        self._status = status
        self._changed = threading.Event()
        self._closed = False
        self.thread = threading.Thread(target=self._run, name="signalbox-report", daemon=True)

    def changed(self) -> None:
        self._changed.set()

    def close(self) -> None:
        self._closed = True
        self._changed.set()

    def _run(self) -> None:
        while not self._closed:
            if not self._report(REPORT_TIMEOUT):
                return
            self._changed.wait(jittered(REPORT_SECONDS))
            self._changed.clear()
        self._report(LAST_REPORT_TIMEOUT)

    def _report(self, timeout: httpx.Timeout) -> bool:
        """Sends a report and returns whether to continue reporting."""
        try:
            self._client.call("PUT", self._path, json=self._status(), timeout=timeout)
        except Problem as problem:
            if problem.status == 403:
                log.warning("Reporting stops: %s", problem)
                return False
            log.info("A report was refused: %s", problem)
        except SignalboxError as error:
            log.debug("A report was not sent: %s", error)
        except Exception:
            log.exception("A report was not sent")
        return True
