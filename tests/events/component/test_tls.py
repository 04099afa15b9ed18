"""A component over TLS: the server proves who it is before it gets the name, or a digest of the password."""

from pathlib import Path
from typing import Any, Final

import pytest

from tests.events.component.conftest import Listener, Read, message, wrapped
from tests.support.wait import until_async
from tests.transport.authority import Authority

_HELLO: Final = b"\x16\x03\x01"
"""How a TLS client begins."""


async def test_copies_come_over_tls(reading: Read, listener: Listener, ours: Authority) -> None:
    listener.context = ours.served()
    async with reading(is_tls=True, ca=ours.ca) as found:
        await found.reads()
        await listener.send(wrapped(message("one", "one")))
        await found.has("one")
        await found.is_beating()
    assert not found.warnings()
    assert listener.said.endswith(b"</stream:stream>")


async def refused(reading: Read, listener: Listener, **options: Any) -> str:
    """What is said of a server that is tried three times."""
    async with reading(**options) as found:
        await until_async(lambda: listener.tried >= 3, "it is tried again", 60)
    (warning,) = found.warnings()
    assert warning.code == "ComponentAway"
    assert listener.accepted == 0
    return warning.message


@pytest.mark.promise
@pytest.mark.parametrize("trusted", ["stranger.pem", ""])
async def test_server_of_a_foreign_authority_gets_nothing(
    reading: Read, listener: Listener, ours: Authority, trusted: str
) -> None:
    listener.context = ours.served()
    reported = await refused(reading, listener, is_tls=True, ca=Path(ours.folder / trusted) if trusted else None)
    assert reported.endswith(f"TLS with ejabberd at 127.0.0.1:{listener.port} failed: CERTIFICATE_VERIFY_FAILED.")
    assert listener.received == b""


@pytest.mark.promise
async def test_server_with_a_certificate_for_another_name_gets_nothing(
    reading: Read, listener: Listener, ours: Authority
) -> None:
    listener.context = ours.served()
    address = ("127.1", listener.port)  # the same host
    reported = await refused(reading, listener, is_tls=True, ca=ours.ca, address=address)
    assert reported.endswith("failed: CERTIFICATE_VERIFY_FAILED.")
    assert listener.received == b""


@pytest.mark.promise
async def test_a_server_in_clear_text_gets_a_hello_and_no_more(
    reading: Read, listener: Listener, ours: Authority
) -> None:
    reported = await refused(reading, listener, is_tls=True, ca=ours.ca)
    assert "failed: WRONG_VERSION_NUMBER." in reported
    assert listener.received.startswith(_HELLO)
    assert b"stream" not in listener.received
    assert b"handshake" not in listener.received


async def test_a_server_with_tls_is_named_where_none_is_used(
    reading: Read, listener: Listener, ours: Authority
) -> None:
    listener.context = ours.served()
    reported = await refused(reading, listener)
    assert "one with `tls: true`" in reported
