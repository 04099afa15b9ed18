# ruff: noqa: SLF001 - how long the server waits for one who does not read, and that it drops him
"""A server of ours speaks TLS: real handshakes, clients that fail, certificates that are renewed, a stop."""

import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import httpx
import pytest
import trio

from restbroker.config.core import Config
from restbroker.config.events import Events
from restbroker.config.target import CertFiles
from restbroker.config.tls import _BEGIN, ends_at_s
from restbroker.operate.check.services import check_services
from restbroker.serving import connections, tls
from restbroker.serving.plain import HttpAnswer, HttpRequest, PlainApp
from restbroker.serving.runner import GRACE_S, Server
from restbroker.serving.tls import Certificate
from restbroker.telemetry.events import Event, ListenerStarted, OperatorWarning
from tests.support.process import Stopwatch
from tests.support.rows import rows
from tests.support.wait import until_async
from tests.transport.authority import Authority


@pytest.fixture
def files(ours: Authority, tmp_path: Path) -> CertFiles:
    """A certificate that a test may change."""
    found = CertFiles(tmp_path / "cert.pem", tmp_path / "key.pem")
    put(ours, "server", found)
    return found


def put(ours: Authority, name: str, files: CertFiles) -> None:
    assert files.key is not None
    for source, target in zip(ours.pair(name), (files.cert, files.key), strict=True):
        shutil.copyfile(source, target)


async def echo(request: HttpRequest) -> HttpAnswer:
    """Answers with the body that came; at /large with more than a socket holds."""
    if request.target == b"/large":
        return HttpAnswer(200, bytes(32 * 1024 * 1024))
    parts: list[bytes] = []
    while part := await request.read_part():
        parts.append(part)
    return HttpAnswer(200, b"".join(parts))


@asynccontextmanager
async def served(files: CertFiles) -> AsyncIterator[tuple[Server, list[Event]]]:
    log: list[Event] = []
    certificate = Certificate(files, "CertFile of Events", log.append)
    app = PlainApp("events", echo, log.append)
    server = Server("events", "Listen of Events", "127.0.0.1", 0, app, log.append, certificate=certificate)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        yield server, log
        nursery.cancel_scope.cancel()


def trusting(authority_file: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=authority_file)


async def posted(server: Server, context: ssl.SSLContext, body: bytes = b"hello") -> httpx.Response:
    async with httpx.AsyncClient(verify=context, trust_env=False, timeout=30) as client:
        return await client.post(server.addresses[0], content=body)


def port_of(server: Server) -> int:
    return int(server.addresses[0].rpartition(":")[2])


def connected(port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    """By OpenSSL alone, which says why it hangs up."""
    plain = socket.create_connection(("127.0.0.1", port))
    try:
        return context.wrap_socket(plain, server_hostname="localhost")
    finally:
        # Closed where it failed; else it belongs to what was made of it by now.
        plain.close()


def warnings(log: list[Event]) -> list[OperatorWarning]:
    return [event for event in log if isinstance(event, OperatorWarning)]


async def shown(server: Server, context: ssl.SSLContext) -> bytes:
    context.set_alpn_protocols(["h2", "http/1.1"])
    stream = await trio.open_ssl_over_tcp_stream("localhost", port_of(server), ssl_context=context)
    async with stream:
        await stream.do_handshake()
        assert stream.selected_alpn_protocol() == "http/1.1"
        found = stream.getpeercert(binary_form=True)
    assert isinstance(found, bytes)
    return found


async def test_a_client_that_trusts_the_authority_is_served_with_tls(ours: Authority, files: CertFiles) -> None:
    async with served(files) as (server, log):
        large = bytes(range(256)) * 4000
        answer = await posted(server, trusting(ours.ca), large)
        assert (answer.status_code, answer.content) == (200, large)
        assert server.addresses[0].startswith("https://127.0.0.1:")
    assert log == [ListenerStarted("events", server.addresses)]


async def test_client_that_distrusts_us_is_reported_once(ours: Authority, files: CertFiles) -> None:
    async with served(files) as (server, log):
        for _ in range(3):
            with pytest.raises(ssl.SSLCertVerificationError):
                await trio.to_thread.run_sync(connected, port_of(server), trusting(ours.pair("stranger")[0]))
        await until_async(lambda: warnings(log), "it is reported")
        assert (await posted(server, trusting(ours.ca))).status_code == 200
    (warned,) = warnings(log)
    assert (warned.code, "UNKNOWN_CA" in warned.message) == ("TLSFailed", True)
    assert warned.hint is not None
    assert "authority" in warned.hint


async def test_client_without_tls_is_reported(ours: Authority, files: CertFiles) -> None:
    async with served(files) as (server, log):
        async with await trio.open_tcp_stream("127.0.0.1", port_of(server)) as stream:
            pass
        async with await trio.open_tcp_stream("127.0.0.1", port_of(server)) as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await stream.receive_some() == b""
        assert (await posted(server, trusting(ours.ca))).status_code == 200
    (warned,) = warnings(log)
    assert "https://" in (warned.hint or "")


@rows("sent", [b"", b"\x16\x03\x01"])
async def test_client_that_does_not_begin_with_tls_is_dropped(
    files: CertFiles, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HANDSHAKE_S", 0.2)
    async with served(files) as (server, log), await trio.open_tcp_stream("127.0.0.1", port_of(server)) as stream:
        await stream.send_all(sent)
        with trio.fail_after(60):
            assert await stream.receive_some() == b""
    assert warnings(log) == []


async def test_stop_waits_for_no_idle_client(ours: Authority, files: CertFiles) -> None:
    async with served(files) as (server, _):
        silent = await trio.open_tcp_stream("127.0.0.1", port_of(server))
        idle = await trio.open_ssl_over_tcp_stream("localhost", port_of(server), ssl_context=trusting(ours.ca))
        await idle.send_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        assert (await idle.receive_some()).startswith(b"HTTP/1.1 200")
        watch = Stopwatch.start()
    assert watch.took_s() < 0.3 + GRACE_S / 2
    for stream in (silent, idle):
        await trio.aclose_forcefully(stream)


async def test_a_reader_that_takes_nothing_is_dropped_with_tls_too(
    ours: Authority, files: CertFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(files) as (server, _):
        monkeypatch.setattr(server._connections, "_patience_s", 0.2)
        with await trio.to_thread.run_sync(connected, port_of(server), trusting(ours.ca)) as stream:
            await trio.to_thread.run_sync(stream.sendall, b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
            await until_async(lambda: server._connections.drop_count == 1, "it is dropped")
        assert (await posted(server, trusting(ours.ca))).status_code == 200


async def test_a_renewed_certificate_counts_once_it_is_usable(
    ours: Authority, files: CertFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "_LOOK_AGAIN_S", 0.0)
    context = trusting(ours.ca)
    assert files.key is not None
    async with served(files) as (server, log):
        first = await shown(server, context)
        # The certificate is replaced first, its key later, as some tools do it.
        shutil.copyfile(ours.pair("client")[0], files.cert)
        assert await shown(server, context) == first
        assert await shown(server, context) == first
        shutil.copyfile(ours.pair("client")[1], files.key)
        assert await shown(server, context) != first
        files.key.unlink()
        assert await shown(server, context) != first
    assert [warned.code for warned in warnings(log)] == ["CertificateUnusable", "CertificateUnusable"]
    assert f"{files.key} is not the key of the certificate in {files.cert}." in warnings(log)[0].message
    assert "No such file" in warnings(log)[1].message


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("cert.pem", "", "cert.pem holds no certificate in PEM form."),
        ("cert.pem", f"{_BEGIN}\nMIIB", "cert.pem or its key is damaged, or the key has a passphrase ("),
        ("key.pem", "no key", "key.pem holds no key in PEM form."),
    ],
)
async def test_a_warning_says_what_is_wrong_with_the_file(
    files: CertFiles, tmp_path: Path, name: str, content: str, why: str
) -> None:
    (tmp_path / name).write_text(content)
    async with served(files) as (server, log), await trio.open_tcp_stream("127.0.0.1", port_of(server)) as stream:
        assert await stream.receive_some() == b""
    (warned,) = warnings(log)
    assert (warned.code, why in warned.message) == ("CertificateUnusable", True), warned.message


def test_the_end_of_a_certificate_is_read_as_openssl_reads_it(ours: Authority) -> None:
    for name in ("server", "stranger"):
        cert, _ = ours.pair(name)
        told = subprocess.run(
            ["openssl", "x509", "-in", cert, "-noout", "-enddate"], check=True, capture_output=True, text=True
        )
        assert ends_at_s(cert) == ssl.cert_time_to_seconds(told.stdout.strip().removeprefix("notAfter="))


async def test_an_expired_certificate_is_a_finding_and_a_warning(
    ours: Authority, files: CertFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of this process is ahead; the client's is OpenSSL's own."""
    events = Events(tls=files)
    assert list(check_services(attrs.evolve(Config(), events=events))) == []
    monkeypatch.setattr(time, "time", lambda: ends_at_s(files.cert) + 1)
    async with served(files) as (server, log):
        assert await shown(server, trusting(ours.ca))
        assert await shown(server, trusting(ours.ca))
    (warned,) = warnings(log)
    (finding,) = check_services(attrs.evolve(Config(), events=events))
    assert (warned.code, finding.code, finding.level) == ("CertificateExpired", "CertificateExpired", "problem")


async def test_no_client_is_served_without_a_usable_certificate(files: CertFiles) -> None:
    files.cert.unlink()
    async with served(files) as (server, log), await trio.open_tcp_stream("127.0.0.1", port_of(server)) as stream:
        assert await stream.receive_some() == b""
    assert [warned.code for warned in warnings(log)] == ["CertificateUnusable"]
    assert "No connection" in warnings(log)[0].message
