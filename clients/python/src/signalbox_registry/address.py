"""Reads an address of the artifact store that the registry redirected to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import SplitResult, urlsplit

import httpx

from .cancellation import Cancellation
from .client import TIMEOUT, cut_connection, describe_error, without_traceback

#: Asks the registry for a redirect.
ACCEPT_REDIRECT = {"Signalbox-Redirect": "accept"}


class UnusableAddress(Exception):
    """An address gave no bytes. Never leaves the library. Names no query: whoever knows it may read the file."""


@contextmanager
def open_address(
    redirect: httpx.Response, offset: int, size: int, cancellation: Cancellation
) -> Iterator[Iterator[bytes]]:
    """
    Yields the bytes of a file from `offset` on. Of the request to the registry it sends the range only, since the address
    is a credential of its own. A further redirect is not followed. Raises `UnusableAddress` if there are no bytes, and the
    errors of httpx after the first.
    """
    address = _address_in(redirect)
    range = {"Range": f"bytes={offset}-"} if offset else {}
    # httpx logs the URL of every request; the target, which has the query, replaces its path when it is sent.
    url = f"{address.scheme}://{address.netloc}{address.path}"
    extensions = {"target": (address.path + (f"?{address.query}" if address.query else "")).encode()}
    with ExitStack() as opened:
        try:
            # A client of its own has no credentials and no cookies.
            client = opened.enter_context(httpx.Client(timeout=TIMEOUT))
            headers = {"Accept-Encoding": "identity", **range}
            response = opened.enter_context(client.stream("GET", url, headers=headers, extensions=extensions))
        except (httpx.HTTPError, httpx.InvalidURL) as cause:
            raise UnusableAddress(f"{address.netloc}: {describe_error(cause)}") from without_traceback(cause)
        opened.enter_context(cancellation.calling(lambda: cut_connection(response)))
        _check(response, offset, size)
        yield _chunks(response)


def _address_in(redirect: httpx.Response) -> SplitResult:
    try:
        address = urlsplit(str(redirect.headers.get("Location", "")))
        usable = address.scheme in ("http", "https") and bool(address.hostname) and "@" not in address.netloc
        usable = usable and address.path.startswith("/")
        (address.path + address.query).encode("ascii")
    except ValueError:
        usable = False
    if not usable:
        raise UnusableAddress("the registry redirected to an address that is not http:// or https://")
    if address.scheme == "http" and redirect.url.scheme != "http":
        raise UnusableAddress(f"{address.netloc} has no TLS, but the registry has")
    return address


def _check(response: httpx.Response, offset: int, size: int) -> None:
    """Something else may answer in place of the store, such as the page of a proxy."""
    length = response.headers.get("Content-Length")
    if offset:
        begins = response.headers.get("Content-Range", "").startswith(f"bytes {offset}-")
        right = response.status_code == 206 and begins
    else:
        right = response.status_code == 200
    if not right or length != str(size - offset):
        host = response.url.netloc.decode()
        raise UnusableAddress(f"{host} answered {response.status_code} with {length or 'unknown'} bytes")


def _chunks(response: httpx.Response) -> Iterator[bytes]:
    began = False
    try:
        for chunk in response.iter_raw():
            began = True
            yield chunk
    except httpx.TransportError as cause:
        if began:
            raise
        raise UnusableAddress(f"{response.url.netloc.decode()}: {describe_error(cause)}") from without_traceback(cause)
