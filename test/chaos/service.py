"""A service with the Python loader: it takes leases continuously, and prints what it observes as JSON lines."""

import json
import random
import signal
import threading
import time

from signalbox_registry import Loader, source
from signalbox_registry.waiting import Backoff

# Shorter than the defaults, which take minutes.
source.IDLE_SECONDS = source.POLL_SECONDS = 3.0
source.STREAM_TIMEOUT = source.httpx.Timeout(3.0)
source.Backoff = lambda first, limit: Backoff(first / 10, limit / 20)

LOOPS = 3

stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
observing = threading.Lock()
served, answered = None, 0


def tell(**observed: object) -> None:
    print(json.dumps(observed), flush=True)


def observe(loader: Loader[str]) -> None:
    global served
    with observing:
        target = loader.status()["current"]
        if target != served:
            served = target
            tell(served=target)


def request(loader: Loader[str]) -> None:
    global answered
    try:
        with loader.bundle() as bundle:
            observe(loader)
            time.sleep(random.uniform(0, 0.02))
            if bundle.model != [bundle.version]:
                raise ValueError(f"{bundle.version} answered as {bundle.model}")
        with observing:
            answered += 1
    except Exception as error:
        tell(failure=repr(error))
        time.sleep(0.1)


def loop(loader: Loader[str]) -> None:
    while not stop.is_set():
        request(loader)


with Loader(
    hydrate=lambda _version, files: [files.path("model.txt").read_text()],
    dispose=lambda model: model.clear(),
) as loader:
    loader.ready(timeout=30)
    loops = [threading.Thread(target=loop, args=[loader]) for _ in range(LOOPS)]
    for thread in loops:
        thread.start()
    while not stop.wait(0.1):
        pass
    for thread in loops:
        thread.join()
    tell(answered=answered)
