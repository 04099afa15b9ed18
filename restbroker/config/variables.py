"""Read the keys that variables of the environment set.

Called by `config.load`. A variable is `RESTBROKER_` and the name of a key of the file, in any case and with or without
underscores between the words. Always holds: an empty variable counts as not set, since compose files set those; one
that would set a part of a key is a problem, as limits and secrets would be lost without it; an unknown key is only
noted, since the environment is shared with other programs.
"""

import re
from collections.abc import Mapping

from restbroker.config.converter import nearest, spellings
from restbroker.config.core import Config, all_keys
from restbroker.config.key import Form, notation_of
from restbroker.config.problems import Problems
from restbroker.config.values import json_or_text
from restbroker.job.json_types import Json

PREFIX = "RESTBROKER_"
_OTHER_VARIABLES = ("CONFIG", "REDIS_SERVER")
# Kubernetes sets these in every pod beside a Service "restbroker" or "restbroker-…": a name, "=" and a value.
_SERVICE_LINK = re.compile(
    r"(.*_)?(SERVICE_(HOST|PORT(_.*)?)=.*|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?=.*|PORT=(tcp|udp|sctp)://.*)"
)


def overlay(environ: Mapping[str, str], problems: Problems) -> dict[str, Json]:
    """Return the keys that variables set, by name."""
    known = spellings(Config)
    found: dict[str, Json] = {}
    for variable, text in sorted(environ.items()):
        rest = variable.removeprefix(PREFIX)
        if rest == variable or rest in _OTHER_VARIABLES or not text or _SERVICE_LINK.match(f"{rest}={text}"):
            continue
        head, parts, _ = rest.partition("__")
        key = known.get(head.replace("_", "").lower())
        if key is None:
            meant = nearest(Config, head.replace("_", ""))
            hint = f"; did you mean {meant}?" if meant else "."
            problems.note("UnknownVariable", f"The variable {variable} is not a key of restbroker{hint}")
        elif parts:
            problems.refuse(variable, _without_parts(key.name))
        else:
            problems.setters[key.name] = variable
            said = notation_of(key.type)
            found[key.name] = said.from_text(text) if isinstance(said, Form) else json_or_text(text)
    return found


def _without_parts(key: str) -> str:
    """Return the text of the problem for a variable that would set a part of this key."""
    whole = f"{PREFIX}{key.upper()}"
    if f"{key}File" in all_keys():
        return f"has two underscores, and {key} has no parts; set {key} in env.json, {whole}, or {whole}FILE to a file."
    return (
        f"would set a part of {key}, which no variable can; write it into {key} in env.json (a secret into a file that "
        f"is named there, such as PassFile), or set {whole} to the whole of {key} as JSON, which replaces that of the "
        "file."
    )
