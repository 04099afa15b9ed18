"""`python -m tests.golden`: what must not change, compared with what was written down; `--write` writes it down anew.

A difference is a decision, which the commit that makes it states. `--only fates/http` does a part.
"""

import argparse
import difflib
import sys
from collections.abc import Callable, Mapping
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
    differs = False
    for name, make in PARTS.items():
        if not name.startswith(given.only):
            continue
        file, found = DATA / name, make()
        before = file.read_text("utf-8") if file.exists() else ""
        if given.write:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(found, "utf-8")
        elif found != before:
            differs = True
            sys.stdout.writelines(
                difflib.unified_diff(before.splitlines(True), found.splitlines(True), f"a/{name}", f"b/{name}", n=1)
            )
        told = "written" if given.write else "as it was" if found == before else "DIFFERENT"
        sys.stdout.write(f"{name}: {told}\n")
        sys.stdout.flush()
    return int(differs)


if __name__ == "__main__":
    raise SystemExit(main())
