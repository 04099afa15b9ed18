"""What `make mutants` changes in the store's scripts: one line each, and every script has something to change."""

from pathlib import Path

import pytest

from restbroker.store import scripts
from tests.mutants.lua import mutants_of

SCRIPTS = sorted(Path(scripts.__file__).parent.glob("*.lua"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_each_mutant_of_a_script_differs_in_one_line(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    lines, sources = source.split("\n"), set()
    for mutant in mutants_of(path.stem, source):  # type: ignore[arg-type]
        changed = mutant.source.split("\n")
        assert [at + 1 for at, line in enumerate(lines) if changed[at] != line] == [mutant.number]
        assert len(changed) == len(lines)
        sources.add(mutant.source)
    assert sources
    assert source not in sources
