# ruff: noqa: SLF001 - privates of Trio: its TLS
"""An authority of the tests' own, and a server on loopback that shows a certificate of it."""

import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import trio

from tests.support.recorder import Recorder


@attrs.frozen
class Authority:
    """`ca.pem`, and what it signed: `server`, `client` (each with `.pem` and `.key`); `stranger` signed itself."""

    folder: Path

    @property
    def ca(self) -> Path:
        """The authority's certificate."""
        return self.folder / "ca.pem"

    def pair(self, name: str) -> tuple[Path, Path]:
        """Certificate and key."""
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def served(self, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, *, asks: bool = False) -> ssl.SSLContext:
        """For a server; `asks`: for a client's certificate, and takes no other."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = context.maximum_version = version
        context.load_cert_chain(*self.pair("server"))
        if asks:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.ca)
        return context


def authority(folder: Path) -> Authority:
    """Makes all of it in this folder."""
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    made = Authority(folder)
    for name in ("ca", "stranger"):
        _openssl(folder, "req", "-x509", *new, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")
    for name in ("server", "client"):
        names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        _openssl(folder, "req", *new, "-subj", f"/CN={name}", *names, "-keyout", f"{name}.key", "-out", f"{name}.csr")
        signed = ["x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]
        _openssl(folder, *signed, "-copy_extensions", "copy", "-days", "2", "-out", f"{name}.pem")
    return made


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@asynccontextmanager
async def recording_tls(context: ssl.SSLContext, pause_s: float = 0.0) -> AsyncIterator[Recorder]:
    """As `recording`, with TLS, which begins after so many seconds.

    One whose handshake fails is left to hang up by itself.
    """
    server = Recorder()

    async def serve(stream: trio.SocketStream) -> None:
        secured = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        try:
            await trio.sleep(pause_s)
            await secured.do_handshake()
        except trio.BrokenResourceError:
            with contextlib.suppress(trio.BrokenResourceError):
                # Trio does not send why; real servers do.
                await stream.send_all(secured._outgoing.read())
                while await stream.receive_some():
                    pass
            return
        await server.serve(secured)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        server.port = listener.socket.getsockname()[1]
        yield server
        nursery.cancel_scope.cancel()
