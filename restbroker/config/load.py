"""Load the configuration: file, environment and flags, merged, read key by key and checked as a whole.

Called by every command that needs one. Always holds: the result is usable, or a `ConfigError` names all wrong shapes
(unknown keys, values that a key does not take), or, if there are none, all wrong meanings, each with its place; nothing
else is ever raised for what an operator wrote.
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from restbroker.config import converter, document
from restbroker.config.core import Config, LoadedConfig
from restbroker.config.key import NO_KINDS, Members, exclusive_pairs
from restbroker.config.problems import Problems
from restbroker.errors import ConfigError
from restbroker.job.json_types import Json
from restbroker.light import frozen


@frozen
class CollectedKeys:
    """The JSON value of each key, from the origin that counts, not yet read; `problems` knows these origins."""

    path: Path | None
    values: Mapping[str, Json]
    problems: Problems

    def origin(self, key: str) -> str:
        """Return who wrote a key: `default`, `file`, a variable or a flag."""
        return self.problems.setters.get(key) or ("file" if key in self.values else "default")


def load(
    path: Path | CollectedKeys | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, Json],
    kinds: Mapping[str, Members],
    sources: Mapping[str, Members] = NO_KINDS,
    *,
    without: Collection[str] = (),
    check: Callable[[Config, Problems], None] = lambda _config, _problems: None,
) -> LoadedConfig:
    """Return the checked configuration, in the order flag > environment > file > default, or raise `ConfigError`.

    `path` is what `--config` named, or what was collected already. `overrides` has the values of flags by the names of
    their keys. `kinds` has the class of options of each kind of target, whose fields are made with `config.key.key`;
    the flat keys mean the first kind. `sources` has the same for each kind of source of events. The keys in `without`
    are treated as not written. `check` adds the problems of a configuration that has none so far.
    """
    collected = path if isinstance(path, CollectedKeys) else collect(path, environ, overrides)
    problems = collected.problems
    problems.kinds, problems.sources = kinds, sources
    given = {name: value for name, value in collected.values.items() if name not in without}
    written = converter.read(Config, given, problems)
    _require_usable(problems, collected.path, "`restbroker config schema` describes every key.")
    config = written.check(given, problems)
    _require_usable(problems, collected.path)
    check(config, problems)
    _require_usable(problems, collected.path)
    return LoadedConfig(config, tuple(problems.notes), collected.path)


def collect(
    path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, Json], *, pipes_in: Path | None = None
) -> CollectedKeys:
    """Return the JSON value of each key; raise `ConfigError` if nothing is configured, or the file is broken.

    `pipes_in`: what is no file, or a shell's (`/dev/stdin`), is read, too, once, and its relative paths begin there.
    """
    found = document.find(path, environ)
    is_pipe = found is not None and pipes_in is not None and (_is_open(found) or not document.is_file(found))
    problems = Problems((pipes_in if is_pipe else found and found.parent) or Path(), environ)
    given: dict[str, Json] = {}
    if found is not None:
        written = document.read(found, problems, is_pipe=is_pipe)
        given = _redis_url(converter.fold(Config, written, "", problems), problems)
    variables = _overlay(environ, problems)
    if found is None and not (variables or problems.problems):
        raise document.missing_configuration()
    _override(given, variables)
    problems.setters |= {name: f"{name} (flag)" for name in overrides}
    _override(given, overrides)
    return CollectedKeys(found, given, problems)


def _is_open(path: Path) -> bool:
    """Tell whether the path names a file that a shell opened, wherever that is."""
    return path.parts[:2] in (("/", "dev"), ("/", "proc"))


def _overlay(environ: Mapping[str, str], problems: Problems) -> dict[str, Json]:
    if not any(name.startswith("RESTBROKER_") for name in environ):
        return {}
    from restbroker.config.variables import overlay  # of no use to most commands

    return overlay(environ, problems)


def _redis_url(given: dict[str, Json], problems: Problems) -> dict[str, Json]:
    """Move a URL in `RedisHost`, which clients of the Go original wrote there, to `RedisURL`."""
    host = given.get("RedisHost")
    if not isinstance(host, str) or "://" not in host or "RedisURL" in given:
        return given
    problems.note("KeyMisspelt", "The URL in RedisHost is read as RedisURL.", "Rename the key to RedisURL.")
    return {**{name: value for name, value in given.items() if name != "RedisHost"}, "RedisURL": host}


def _override(given: dict[str, Json], above: Mapping[str, Json]) -> None:
    """Update `given` with the flags or variables `above`, each of which also replaces the other way to say the same."""
    for pair in exclusive_pairs(Config):
        if any(name in above for name in pair):
            for name in pair:
                given.pop(name, None)
    given.update(above)


def _require_usable(found: Problems, path: Path | None, hint: str | None = None) -> None:
    if found.problems:
        place = "The configuration from the environment" if path is None else str(path)
        lines = "".join(f"\n  {problem}" for problem in found.problems)
        raise ConfigError(f"{place} cannot be used:{lines}", hint)
