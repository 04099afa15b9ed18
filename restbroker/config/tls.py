"""The files of a target's `TLS`, and of servers that others reach by TLS: checked when the configuration is loaded.

Called by `config.check_targets`, `config.check_events`, the transport and `serving`, which read them later. Always
holds: the files that were checked are those that are used; no passphrase is asked for.
"""

import base64
import calendar
import math
import re
import ssl
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from restbroker.config.problems import Problems, at
from restbroker.config.secret import bytes_of
from restbroker.config.target import CertFiles, TlsFiles
from restbroker.config.values import without_logins

_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_VALIDITY: Final = re.compile(rb"(?:\x17\x0d\d{12}|\x18\x0f\d{14})Z(?:\x17\x0d|\x18\x0f)(\d{12,14})Z")
"""The two times in a certificate, of which the second says when it ends: Python's `ssl` reads none but a peer's."""


def context_of(files: TlsFiles) -> ssl.SSLContext:
    """Return the context for all connections of a target, since loading the system's authorities takes time.

    Raise `OSError` if a file cannot be used.
    """
    context = ssl.create_default_context(cafile=files.ca)
    if files.cert is not None:
        # Without a password here, OpenSSL asks for it at the terminal.
        context.load_cert_chain(files.cert, files.key, password="")
    return context


def server_context(files: CertFiles) -> ssl.SSLContext:
    """Return the context for a server of restbroker, which speaks HTTP/1.1; raise `OSError` if a file is unusable."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.cert, files.key, password="")
    context.set_alpn_protocols(["http/1.1"])
    return context


def why_unusable(files: CertFiles, error: OSError) -> str:
    """Return what is wrong with the files of which `server_context` raised this."""
    key = files.key or files.cert
    if not isinstance(error, ssl.SSLError):
        return f"{files.cert} or its key cannot be read: {error.strerror}"
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"{key} is not the key of the certificate in {files.cert}"
    with suppress(OSError):  # it is gone by now
        for path, mark, what in ((files.cert, _BEGIN, "certificate"), (key, "PRIVATE KEY-----", "key")):
            if mark not in path.read_text("ascii", "replace"):
                return f"{path} holds no {what} in PEM form"
    return f"{files.cert} or its key is damaged, or the key has a passphrase ({error.reason or error})"


def ends_at_s(cert: Path) -> float:
    """Return when the first certificate of this file ends (epoch seconds); infinite if that cannot be read."""
    text = cert.read_text("ascii", "replace").partition(_BEGIN)[2].partition("-----END")[0]
    found = _VALIDITY.search(base64.b64decode(text))
    if found is None:
        return math.inf
    digits = found[1].decode()
    century = "" if len(digits) == len("YYYYMMDDHHMMSS") else "20" if digits < "5" else "19"
    return calendar.timegm(time.strptime(century + digits, "%Y%m%d%H%M%S"))


def cert_files(files: CertFiles | None, place: str, problems: Problems) -> CertFiles | None:
    """Return the files, each read once; None if there are none, or for problems, which are added to `problems`."""
    if files is None:
        return None
    written = TlsFiles(None, None if files.cert == Path() else files.cert, files.key)
    found = tls_files(written, place, "", problems, is_used=True)
    return None if found.cert is None else CertFiles(found.cert, found.key)


def tls_files(files: TlsFiles, place: str, url_place: str, problems: Problems, *, is_used: bool) -> TlsFiles:
    """Return the files, each read once; problems and notes go to `problems`. `place` is that of `TLS`.

    `is_used` says that the URL begins with https://; otherwise each file gets a note that it is not used.
    """
    ca = _check_readable(files.ca, at(place, "CAFile"), problems)
    cert = _check_readable(files.cert, at(place, "CertFile"), problems)
    key = _check_readable(files.key, at(place, "KeyFile"), problems)
    if files.key is not None and files.cert is None:
        problems.refuse(at(place, "KeyFile"), "is the key of a certificate; give that too, as CertFile.")
    if ca is not None:
        _try_authority(ca, at(place, "CAFile"), problems)
    if cert is not None and (key is not None or files.key is None):
        _try_certificate(TlsFiles(None, cert, key), place, problems)
    for member, given in (("CAFile", files.ca), ("CertFile", files.cert)):
        if given is not None and not is_used:
            message = f"{at(place, member)} is not used, since {url_place} begins with http://."
            problems.note("NoTLS", message, "Use https://.")
    return TlsFiles(ca, cert, key)


def _check_readable(written: Path | None, place: str, problems: Problems) -> Path | None:
    if written is None:
        return None
    path = problems.base / written
    try:
        bytes_of(path)
    except OSError as error:
        problems.refuse(place, f"{_printable(path)} cannot be read: {error.strerror}.")
        return None
    return path


def _try_authority(path: Path, place: str, problems: Problems) -> None:
    try:
        context_of(TlsFiles(path))
    except ssl.SSLError:
        problems.refuse(place, f"{_printable(path)} holds no certificate that can be read; it must be in PEM form.")


def _try_certificate(files: TlsFiles, place: str, problems: Problems) -> None:
    try:
        context_of(files)
    except ssl.SSLError as error:
        why = without_logins(why_unusable(CertFiles(files.cert or Path(), files.key), error))
        form = "in PEM form, without a passphrase"
        if error.reason == "KEY_VALUES_MISMATCH":
            problems.refuse(at(place, "KeyFile"), f"{why}.")
        elif files.key is None:
            problems.refuse(
                at(place, "CertFile"), f"{why}; give the file of its key as {at(place, 'KeyFile')}, {form}."
            )
        else:
            problems.refuse(at(place, "CertFile"), f"{why}; both must be {form}.")


def _printable(path: Path | None) -> str:
    # An address written as a file's may have a login in it.
    return without_logins(str(path))
