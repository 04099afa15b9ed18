"""The files of `tests/golden/data`: what is compared whole by day, and what only `python -m tests.golden` makes."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from tests.golden import command_line, commands, configuration, hour, probes, recorded, verbs

DATA: Final = Path(__file__).parent / "data"

QUICK: Final[Mapping[str, Callable[[], str]]] = {
    "configuration/keys.txt": configuration.keys_text,
    "configuration/files.txt": configuration.files_text,
    "command_line.txt": command_line.text,
    "probes.txt": probes.text,
    "verbs.txt": verbs.text,
    **{f"commands/{name}.txt": partial(commands.text, kind) for name, kind in commands.usual().items()},
}
"""Each, and what makes it."""

LONG: Final[Mapping[str, Callable[[], str]]] = {"hour.txt": hour.hour}
"""What takes longer: only the night compares it."""

RECORDED: Final[Mapping[str, Callable[[], str]]] = {
    f"recorded/{name}.txt": partial(recorded.text, name) for name in recorded.FILES
}
"""Each file of recorded answers, and what restbroker makes of it; `tests/servers/test_recorded.py` compares them."""
