"""docs/personal-data.md has each key that a person can be in. Its commands are typed in nightly/test_recipes.py."""

import re
from typing import Final

from dev.tools.pages import ROOT
from tests.support.key_names import all_keys

NOBODY: Final = (
    # Sidekiq's names, counts, and requests to processes.
    *("queues", "paused", "processes", "process_cleanup", "stat:", "HOST:PID:NONCE$", "HOST:PID:NONCE-"),
    # Processes, their targets and queues.
    *("restbroker:beats", "restbroker:dying", "restbroker:info:", "restbroker:sent:", "restbroker:inflight:"),
    *("restbroker:rate:", "restbroker:pause:", "restbroker:pace:", "restbroker:groups:", "restbroker:lease:"),
    *("restbroker:told:", "restbroker:rewrite", "restbroker:progress:", "restbroker:oldest", "restbroker:unadmitted"),
    # Counts and times; ids of jobs and numbers of rows; digests.
    *("restbroker:large$", "restbroker:minutes", "restbroker:periodic", "restbroker:tokens", "restbroker:pushed:"),
    "restbroker:tell",
    *(
        "restbroker:bulk:",
        "restbroker:done:",
        "restbroker:signed:",
        "restbroker:once:",
        "restbroker:unique:",
        "restbroker:copies:",
    ),
    # Of forms that have gone: a start takes nothing while there are any.
    *("restbroker:fair:wait:", "restbroker:order:"),
)
"""What keys begin with that no name of a person comes into; $ is a key's end."""


def test_the_page_of_personal_data_knows_each_key() -> None:
    page = (ROOT / "docs" / "personal-data.md").read_text("utf-8")
    rows = re.findall(r"^\| (`.*?) \|", page.partition("## What lies where")[2], re.MULTILINE)
    shown = [key for row in rows for key in re.findall("`(.*?)`", row) if ":" in key or key.islower()]
    named = tuple(key if key.startswith("HOST") else re.split("[A-Z]{2}|asking", key)[0] for key in shown)
    keys = [f"{key}$" for key in all_keys()]
    assert [key for key in keys if not key.startswith(NOBODY) and not key.startswith(named)] == []
    assert [start for start in (*NOBODY, *named) if not any(key.startswith(start) for key in keys)] == []
