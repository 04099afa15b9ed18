"""The page of metrics and lines is what the code says."""

from pathlib import Path

from restbroker.telemetry import reference

PAGE = Path(__file__).parents[3] / "docs" / "telemetry.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text("utf-8") == reference.markdown(), "make reference"


def test_a_line_has_every_level_and_every_field_that_it_may_have() -> None:
    rows = {row.split("|")[1].strip(): row.split("|")[2:4] for row in reference.markdown().splitlines() if "|" in row}
    assert [cell.strip() for cell in rows["`gate.closed`"]] == ["warning, error", "`target code message cure`"]
    assert [cell.strip() for cell in rows["`broker.stopped`"]] == [
        "warning, info",
        "`pushed_back uncertain left message cure`",
    ]
