"""The page on performance says what was measured, not what somebody remembers."""

import json
import statistics
from typing import Any

from benchmarks.peers import PEERS
from benchmarks.plot import PICTURE, RESULTS, ROOT

PAGE = ROOT / "docs" / "performance.md"


def results() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RESULTS.read_text("utf-8"))
    return found


def test_the_table_of_the_page_has_the_medians_of_the_kept_results() -> None:
    page, table = PAGE.read_text("utf-8"), results()["drain"]["20"]["candidates"]
    for name, every in table.items():
        assert f"\n| {name} | {statistics.median(one['jobs_per_s'] for one in every):,.0f} (" in page


def test_every_candidate_is_in_the_kept_results_and_in_the_picture() -> None:
    table, picture = results()["drain"]["20"]["candidates"], PICTURE.read_text("utf-8")
    for peer in PEERS:
        assert peer.name in table
        assert f">{peer.name}<" in picture


def test_the_page_names_the_commit_that_was_measured() -> None:
    assert f"commit {results()['machine']['revision']}" in PAGE.read_text("utf-8")
