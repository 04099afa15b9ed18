"""Find the configuration file and read its JSON.

Called by `config.load`. Always holds: for a file that cannot be used (missing, a directory, binary, broken JSON) a
`ConfigError` says where and why, and of the broken line it shows only the key.
"""

import json
import os.path
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

from restbroker.config.problems import Problems, at, printable_name
from restbroker.config.secret import bytes_of
from restbroker.errors import ConfigError
from restbroker.job.json_types import Json

SYSTEM_FILE = Path("/etc/restbroker/env.json")
VARIABLE = "RESTBROKER_CONFIG"
_FIRST_KEY = re.compile(r'[\s{\[,]*"\w{1,40}"?\s*:')
_BRACKETS = re.compile(r"[\s{}\[\],]*")


class _DuplicateNames(dict[str, Json]):
    """A JSON object in which names occur more than once; `names` lists those names."""

    def __init__(self, members: Mapping[str, Json], names: Sequence[str]) -> None:
        super().__init__(members)
        self.names: Final = names


def find(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the file to read: `path`, `$RESTBROKER_CONFIG`, `./env.json`, or the system's; None if there is none.

    A file that was named is returned even if it does not exist, so that reading it fails; the two usual places may be
    empty.
    """
    if path is not None:
        return path
    if environ.get(VARIABLE):
        return Path(environ[VARIABLE])
    return next((place for place in (Path("env.json"), SYSTEM_FILE) if is_file(place)), None)


def is_file(path: Path) -> bool:
    """Tell whether there is such a file, as far as the user may look."""
    return os.path.isfile(path)  # noqa: PTH113 - that of the path raises where they may not


def missing_configuration() -> ConfigError:
    """Return the error for when there is neither a file nor anything in the environment."""
    return ConfigError(
        f"No configuration was found: no --config, no ${VARIABLE}, no {Path.cwd() / 'env.json'}, and no {SYSTEM_FILE} "
        "that you may read.",
        "Create one with `restbroker config init`, or name yours with --config.",
    )


def read(path: Path, problems: Problems, *, is_pipe: bool = False) -> dict[str, Json]:
    """Return the file's JSON object; for broken JSON raise `ConfigError` with line, column and the key of that line.

    `is_pipe`: it need be no file. Raise `ConfigError` also if it cannot be read or holds something other than an
    object. A name that occurs twice in an object becomes a problem in `problems`.
    """
    try:
        text = (path.read_bytes() if is_pipe else bytes_of(path)).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(
            f"The configuration file {path} cannot be read: {why}.",
            "Check the path, and that the user that runs restbroker may read it; `restbroker config init` creates one.",
        ) from error
    document = _parse(text, path)
    if not isinstance(document, dict):
        raise ConfigError(f"{path} must hold one JSON object, {{ … }}.", "`restbroker config init` creates an example.")
    _refuse_twice(document, problems)
    return document


def _refuse_twice(document: dict[str, Json], problems: Problems) -> None:
    inside: list[tuple[str, Json]] = [("", document)]
    for place, value in inside:
        if isinstance(value, _DuplicateNames):
            for name in value.names:
                problems.refuse(at(place, printable_name(name)), "appears twice; keep one of the two.")
        if isinstance(value, dict):
            inside += [(at(place, printable_name(name)), member) for name, member in value.items()]
        elif isinstance(value, list):
            inside += [(f"{place}[{number}]", item) for number, item in enumerate(value)]


def _parse(text: str, path: Path) -> Json:
    hint = "JSON takes no trailing commas and no comments; a key that begins with _ or // is a comment here."
    try:
        document: Json = json.loads(text, object_pairs_hook=_members, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        line = _mask_line(text.split("\n")[error.lineno - 1])
        where = f"line {error.lineno}, column {error.colno}"
        if error.msg.startswith("Expecting ',' delimiter"):
            # Python names the place where it noticed, which is the member after the missing comma.
            where += " or before this, perhaps on the line above"
        raise ConfigError(f"{path} is not valid JSON: {error.msg} at {where}:\n  {line}", hint) from error
    except ValueError as error:
        raise ConfigError(f"{path} contains an invalid number (NaN, Infinity, endless digits).", hint) from error
    except RecursionError as error:
        raise ConfigError(f"{path} is nested too deeply to be a configuration.", hint) from error
    return document


def _members(pairs: Sequence[tuple[str, Json]]) -> dict[str, Json]:
    members: dict[str, Json] = {}
    seen: set[str] = set()
    twice: list[str] = []
    for name, value in pairs:
        folded = name.lower()
        if folded in seen and not is_comment(name):
            twice.append(name)
        seen.add(folded)
        members[name] = value
    return _DuplicateNames(members, twice) if twice else members


def is_comment(name: str) -> bool:
    """Tell whether a key begins with `_` or `//`, and so is a comment for people only."""
    return name.startswith(("_", "//"))


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _mask_line(line: str) -> str:
    """Return only the key of the line: in a damaged line nothing shows where a secret begins or ends."""
    if _BRACKETS.fullmatch(line):
        return line.strip()
    key = _FIRST_KEY.match(line)
    return "…" if key is None else f"{key[0].strip()} …"
