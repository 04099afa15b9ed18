"""`python -m tests.golden`: what must not change, compared with what was written down; `--write` rewrites it.

A difference is a decision, which the commit that makes it states. `--only fates/http` does a part.
"""

import argparse
import difflib
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Final

from tests.golden import commands, fates, table
from tests.golden.cases import KINDS, Kind
from tests.golden.parts import DATA, LONG, QUICK, RECORDED


def _fates(kind: Kind) -> str:
    return table.text(fates.rows(kind, fates.every))


PARTS: Final[Mapping[str, Callable[[], str]]] = {
    **{f"fates/{name}.txt": partial(_fates, kind) for name, kind in KINDS.items()},
    **QUICK,
    **LONG,
    **RECORDED,
    **{f"commands/{name}.txt": partial(commands.text, kind) for name, kind in commands.others().items()},
}
"""Each file below `data`, and what makes it."""


def main() -> int:
    """Writes or compares. 1: something is otherwise than it was written down."""
    parser = argparse.ArgumentParser(prog="python -m tests.golden", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write what is found")
    parser.add_argument("--only", default="", help="files whose path below tests/golden/data begins so")
    given = parser.parse_args()
    names, differs = [name for name in PARTS if name.startswith(given.only)], False
    with ProcessPoolExecutor() as pool:
        for name, found in zip(names, pool.map(_make, names), strict=True):
            differs |= _write(name, found) if given.write else _is_different(name, found)
    return int(differs)


def _make(name: str) -> str:
    return PARTS[name]()


def _write(name: str, found: str) -> bool:
    (DATA / name).parent.mkdir(parents=True, exist_ok=True)
    (DATA / name).write_text(found, "utf-8")
    _say(f"{name}: written\n")
    return False


def _is_different(name: str, found: str) -> bool:
    """Whether it is otherwise than it was written down; prints the lines."""
    file = DATA / name
    before = file.read_text("utf-8") if file.exists() else ""
    lines = before.splitlines(True), found.splitlines(True)
    _say(f"{name}: {'as it was' if found == before else 'DIFFERENT'}\n")
    _say(*difflib.unified_diff(*lines, f"a/{name}", f"b/{name}", n=1))
    return found != before


def _say(*lines: str) -> None:
    sys.stdout.writelines(lines)
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
