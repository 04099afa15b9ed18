"""The Lua scripts: each does for many jobs what must happen in one step. Used by the files of the store.

Always holds: every script may be sent twice, and keeps each job in exactly one place even when Redis refuses a part.
Needs Redis ≥ 7.0 or Valkey ≥ 7.2 (`#!lua flags=…`): a full Redis must be drained, not refuse its own relief.
"""

from functools import cache
from pathlib import Path
from typing import Literal, get_args

import attrs

ScriptName = Literal[
    "register",
    "beat",
    "fetch",
    "classify",
    "group_return",
    "group_steer",
    "jobs_at",
    "held",
    "allowed",
    "listed",
    "finish",
    "due",
    "page",
    "find",
    "copies",
    "place",
    "fence",
    "mark",
    "recover",
    "forget",
    "retire",
    "turn",
    "tell",
    "charge",
    "pause",
    "pause_queue",
    "clear",
    "waiting",
    "take",
    "end_pauses",
    "even_full",
    "unadmitted_count",
    "unadmitted_pause",
    "record",
    "roster_change",
    "roster_claim",
    "roster_land",
    "hear",
    "lease",
    "unlease",
    "login_take",
    "login_put",
    "login_off",
    "room_take",
    "room_put",
    "login_ask",
    "login_end",
    "bulk_push",
    "bulk_hear",
    "claim",
    "release",
    "push",
    "tick",
]

_PARTS = ("clock", "groups", "group_lines", "moments", "moves", "reading")
"""What several scripts know: a part stands in the place of the line that names it when a script is sent."""


@attrs.frozen
class Script:
    """A script's source, and the SHA-1 that Redis knows it by."""

    source: bytes
    sha: str


@cache
def script(name: ScriptName) -> Script:
    """Return a script, which is read once per process."""
    import hashlib  # it loads OpenSSL, and to push a job takes no script

    folder = Path(__file__).parent
    source = folder.joinpath(f"{name}.lua").read_bytes()
    for part in _PARTS:
        line = f"-- part: {part}\n".encode()
        if line in source:
            source = source.replace(line, folder.joinpath("parts", f"{part}.lua").read_bytes())
    return Script(source, hashlib.sha1(source, usedforsecurity=False).hexdigest())


def read_all() -> None:
    """Read every script now: later, files of another version may be there, or no file descriptor may be free."""
    for name in get_args(ScriptName):
        script(name)
