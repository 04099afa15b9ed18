"""What becomes of a command by what its server answers is as it was written down (`python -m tests.golden`)."""

from pathlib import Path

import pytest

from tests.golden import fates, table
from tests.golden.cases import KINDS

DATA = Path(__file__).parent / "data" / "fates"
SHARE = 8
"""Of the bodies, for each class and span of statuses. `python -m tests.golden` looks at all statuses, for some minutes."""


@pytest.mark.parametrize("name", KINDS)
def test_each_answer_of_a_server_has_the_recorded_fate(name: str) -> None:
    written = (DATA / f"{name}.txt").read_text("utf-8")
    assert list(fates.differences(KINDS[name], written, SHARE))[:20] == []


def test_each_row_of_the_table_has_a_fate_for_each_status() -> None:
    wrong = [
        (name, body, label)
        for name in KINDS
        for body, by_label in table.parsed((DATA / f"{name}.txt").read_text("utf-8")).items()
        for label, spans in by_label.items()
        if [status for span, _ in spans for status in table.statuses_of(span)]
        != (list(fates.SILENCES) if body == fates.SILENCE else [str(status) for status in fates.ALL])
    ]
    assert not wrong


def test_compared_fates_cover_each_status_once() -> None:
    statuses = {int(at) for name in KINDS for _, _, at, _ in
            fates.points((DATA / f"{name}.txt").read_text("utf-8"), SHARE) if at.isdigit()}  # fmt: skip
    assert statuses == set(fates.ALL)
