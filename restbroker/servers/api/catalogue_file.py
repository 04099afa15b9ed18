"""Reads the file that holds a kind's catalogue, beside the kind's code.

Called by the catalogues of ejabberd and MongooseIM. Always holds: little is loaded for it, since a shell command that
pushes one job reads such a file.
"""

import zlib
from pathlib import Path
from typing import Any

import orjson

_GZIP = 31
"""The number by which zlib knows gzip's format."""


def read(module: str, name: str) -> Any:  # noqa: ANN401  each file has its own shape
    """Return the JSON in the file `name` beside the Python file `module`; a file that ends with `.gz` is unpacked."""
    raw = Path(module).with_name(name).read_bytes()
    return orjson.loads(zlib.decompress(raw, _GZIP) if name.endswith(".gz") else raw)
