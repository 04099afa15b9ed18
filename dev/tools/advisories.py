"""Lists the known holes of the libraries that an SBOM names: `make advisories` and the night call it.

    python -m dev.tools.advisories restbroker-VERSION.cdx.json

pip-audit asks the database (OSV, https://osv.dev), and must be installed. Exits with 1 if a library has a known hole,
and with 2 if the answer is not known. Always holds: it says "none" only of libraries that the database answered for.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import attrs

FOUND: Final = 1
UNKNOWN: Final = 2


class NoAnswerError(Exception):
    """It is not known whether the libraries have holes; the text says why."""


@attrs.frozen
class Hole:
    """A known hole of a library. `ids`: the advisory's own, and its other names. `fixed`: versions without it."""

    library: str
    version: str
    ids: tuple[str, ...]
    fixed: tuple[str, ...]
    summary: str


Library: TypeAlias = tuple[str, str]
"""A library's name, as PyPI normalizes it, and its version."""


def libraries_of(sbom: bytes) -> list[Library]:
    """Return the Python libraries that an SBOM in CycloneDX's JSON names; ours is none.

    It may name two versions of one, each for other versions of Python. Raise `NoAnswerError` if it names no library.
    """
    try:
        parts = [part for part in json.loads(sbom)["components"] if part["purl"].startswith("pkg:pypi/")]
        found = {(re.sub(r"[-_.]+", "-", part["name"]).lower(), part["version"]) for part in parts}
    except (ValueError, KeyError, TypeError) as wrong:
        raise NoAnswerError(f"This is no SBOM of Python libraries in CycloneDX's JSON: {wrong!r}") from wrong
    libraries = sorted(library for library in found if library[0] != "restbroker")
    if not libraries:
        raise NoAnswerError("The SBOM names no Python library.")
    return libraries


def ask(libraries: Sequence[Library], more: Sequence[str] = ()) -> list[Hole]:
    """Return the known holes of these libraries. `more`: further words for pip-audit.

    Raise `NoAnswerError` if the database did not answer for each of them.
    """
    holes, left = list[Hole](), list(libraries)
    while left:
        # pip-audit refuses to be asked about two versions of a library at once.
        versions = dict(left)
        holes += _ask(versions, more)
        left = [library for library in left if library not in versions.items()]
    return holes


def _ask(versions: Mapping[str, str], more: Sequence[str]) -> list[Hole]:
    words = ["--vulnerability-service", "osv", "--no-deps", "--disable-pip", "--format", "json", "--aliases", "on"]
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder) / "pins.txt"
        pins.write_text("".join(f"{name}=={version}\n" for name, version in versions.items()), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "pip_audit", *words, "--progress-spinner", "off", "--requirement", pins, *more],
            check=False,
            capture_output=True,
            text=True,
        )
    if not done.stdout.strip():
        why = done.stderr.strip().splitlines()[-1:] or [f"pip-audit exits with {done.returncode}"]
        raise NoAnswerError(f"The advisory database was not asked to the end: {why[0]}")
    answers = [one for one in json.loads(done.stdout)["dependencies"] if "vulns" in one]
    if missing := sorted({*versions.items()} - {(one["name"], one["version"]) for one in answers}):
        raise NoAnswerError(f"The advisory database did not answer for {', '.join(map('=='.join, missing))}.")
    return [
        Hole(one["name"], one["version"], (hole["id"], *hole["aliases"]), (*hole["fix_versions"],), hole["description"])
        for one in answers
        for hole in one["vulns"]
    ]


def main() -> int:
    """List the holes; return the exit code."""
    parser = argparse.ArgumentParser(prog="make advisories", description="List known holes of an SBOM's libraries.")
    parser.add_argument("sbom", type=Path, help="an SBOM in CycloneDX's JSON, such as a release has")
    parser.add_argument("--database", metavar="URL", help="another one that speaks OSV's API")
    typed = parser.parse_args()
    try:
        libraries = libraries_of(typed.sbom.read_bytes())
        holes = ask(libraries, ["--osv-url", typed.database] if typed.database else [])
    except (NoAnswerError, OSError) as error:
        sys.stderr.write(f"make advisories: NOT CHECKED. {error}\n")
        return UNKNOWN
    for hole in holes:
        fixed = f"fixed in {' and '.join(hole.fixed)}" if hole.fixed else "not fixed yet"
        sys.stdout.write(f"{hole.library} {hole.version}: {' '.join(hole.ids)}, {fixed}: {hole.summary}\n")
    sys.stdout.write(f"{len(holes)} known holes in {len(libraries)} libraries of {typed.sbom.name}.\n")
    return FOUND if holes else 0


if __name__ == "__main__":
    sys.exit(main())
