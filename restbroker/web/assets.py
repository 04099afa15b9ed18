"""The files beside the pages: style sheet, script, icon; read once, when the app is made.

Always holds: no other file is served, under any path; a file is requested with its digest, so that a browser may keep
it forever and still gets the new one after an update.
"""

from hashlib import sha256
from pathlib import Path

import attrs

_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_FOLDER = Path(__file__).parent / "static"


@attrs.frozen
class Asset:
    """A file's bytes, its content type, and the digest that is in its address."""

    body: bytes
    content_type: str
    digest: str


def read_all() -> dict[str, Asset]:
    """Return every file by its name."""
    return {path.name: _read(path) for path in sorted(_FOLDER.iterdir()) if path.suffix in _TYPES}


def _read(path: Path) -> Asset:
    body = path.read_bytes()
    return Asset(body, _TYPES[path.suffix], sha256(body).hexdigest()[:12])
