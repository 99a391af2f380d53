"""Which redirects are followed. What is sent to the artifact store is tested with a real one, in test/python."""

from __future__ import annotations

import httpx
import pytest

from signalbox_registry.address import UnusableAddress, open_address
from signalbox_registry.cancellation import Cancellation


def opening(location: str | None, registry: str = "http://registry.example") -> None:
    headers = {} if location is None else {b"Location": location.encode()}
    redirect = httpx.Response(307, headers=headers, request=httpx.Request("GET", f"{registry}/file"))
    with open_address(redirect, 0, 1, Cancellation()):
        raise AssertionError("the address was opened")


@pytest.mark.parametrize(
    "location",
    [
        None,
        "",
        "/file",
        "file:///etc/passwd",
        "ftp://127.0.0.1:1/file",
        "data:,x",
        "http://",
        "http:///file",
        "http://127.0.0.1:1",
        "http://[::1/file",
        "http://ana:secret@127.0.0.1:1/file",
        "http://127.0.0.1:1/f\u00efle",
    ],
)
def test_a_redirect_to_anything_but_http_is_not_followed(location: str | None) -> None:
    with pytest.raises(UnusableAddress, match="not http:// or https://"):
        opening(location)


def test_a_redirect_that_leaves_tls_is_not_followed() -> None:
    with pytest.raises(UnusableAddress, match="has no TLS"):
        opening("http://127.0.0.1:1/file?key=secret", "https://registry.example")


def test_the_error_of_an_address_does_not_contain_its_query() -> None:
    with pytest.raises(UnusableAddress) as caught:
        opening("http://127.0.0.1:1/file?key=secret")
    assert "127.0.0.1:1: ConnectError" in str(caught.value)
    assert "secret" not in repr(caught.value) + repr(caught.value.__cause__)
