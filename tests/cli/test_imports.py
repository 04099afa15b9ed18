"""What commands load: a library, or a server's catalogue, that slips in costs each turn of a shell's loop, and a broker
its memory for as long as it runs.
"""

import json
import sys
from pathlib import Path

import pytest

from restbroker.kinds import FLAT, TARGETS
from restbroker.store import queues
from restbroker.store.client import Client
from tests.cli.conftest import NOW_S, Shell, configure, put
from tests.support.answering import AnsweringServer
from tests.support.process import started
from tests.support.wait import until

SLOW = {
    *("asyncio", "ssl", "email", "logging", "http"),
    *("pydantic", "trio", "httpx", "quart", "hypercorn", "prometheus_client", "rich", "click"),
}
# What decides what becomes of a job that was sent, and makes events.
JUDGING = {f"restbroker.job.{name}" for name in ("settlement", "outcome", "event", "template")}
# What changes jobs, for commands that show them.
ACTING = {"restbroker.operate.act", "restbroker.operate.edit", "restbroker.cli.actions"}
OTHERS = {"rosters", *(kind.partition("-")[0] for kind in TARGETS if kind != FLAT)}
NEEDED = {
    *("attr", "attrs"),
    *("trio", "outcome", "sniffio", "sortedcontainers", "idna"),
    # cattrs: the configuration; typing_extensions with it.
    *("cattrs", "typing_extensions"),
    *("httptools", "orjson"),
    "hiredis",
    # Of the command line, 1 MiB in all.
    *("typer", "annotated_doc", "shellingham"),
}
ADVICE = (
    "`restbroker run` loads {more} besides, for as long as it runs. What is only needed sometimes is imported where it "
    "is used; what every broker needs is added to NEEDED, with what it takes of the memory in the commit's message."
)
SCRIPT = """
import atexit, sys
before = set(sys.modules)

def report():
    # Cython makes some modules that no file holds.
    loaded = [name for name in set(sys.modules) - before if getattr(sys.modules[name], "__spec__", None)]
    open("loaded", "w").write(" ".join(loaded))

atexit.register(report)
from restbroker.__main__ import main
main()
"""
COMMAND = (sys.executable, "-c", SCRIPT)
JID = "a1" * 12


def loaded(words: list[str], place: Path) -> set[str]:
    """Return the modules that this command loaded."""
    with started(words, directory=place, command=COMMAND) as running:
        assert running.wait() == 0, running.output()
    return {*(place / "loaded").read_text().split()}


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        ("--version", set()),
        ("--help", set()),
        ("commands register", {"attrs"}),
        ("enqueue --help", {"attrs"}),
        ("enqueue register user=a host=h password:=1 --any", {"attrs"}),
        ("stats", {"attrs"}),
        ("stats --json", {"attrs"}),
        ("dead", {"attrs"}),
        ("retries list", {"attrs"}),
        (f"scheduled show {JID}", {"attrs"}),
        (f"explain {JID}", {"attrs"}),
        ("explain TargetUnreachable", {"attrs"}),
    ],
)
def test_a_quick_command_loads_nothing_slow(place: Path, store: Client, line: str, allowed: set[str]) -> None:
    for zset in ("dead", "retry", "schedule"):
        put(store, zset, NOW_S, JID)
    found = loaded(line.split(), place)
    assert (SLOW | ACTING | {"attrs"}) & found <= allowed
    assert not JUDGING & found
    assert not [name for name in found if set(name.split(".")) & OTHERS and name.startswith("restbroker.")]
    assert "html" not in found or not line.startswith(("enqueue", "stats"))
    assert "hashlib" not in found or not line.startswith("enqueue")
    assert "restbroker.cli.explain_key" not in found
    assert "typing" not in found or line != "--version"
    # No terminal shows them.
    assert not {"restbroker.operate.summary", "restbroker.operate.context"} & found or "stats" not in line


def test_only_the_catalogue_of_the_commands_own_server_is_loaded(place: Path) -> None:
    kinds = [kind for kind in TARGETS if kind not in ("http", "prosody-roster")]
    targets = {kind: {"Kind": kind, "URL": "http://127.0.0.1:1/api", "Queues": [kind]} for kind in kinds}
    document = json.loads((place / "env.json").read_text())
    kept = {name: value for name, value in document.items() if not name.startswith("Rest")}
    (place / "env.json").write_text(json.dumps({**kept, "Targets": targets}))
    rows = {
        "enqueue any_name a=b --any --target ejabberd": ["restbroker.servers.ejabberd.catalogue"],
        "enqueue any_name a=b --any --queue openfire-rest": ["restbroker.servers.openfire.rest.catalogue"],
        "dead": [],
    }
    for line, expected in rows.items():
        assert [name for name in loaded(line.split(), place) if name.endswith(".catalogue")] == expected, line


def test_to_push_or_show_jobs_what_serves_others_is_not_read(place: Path, shell: Shell) -> None:
    """What is wrong there is said by `check`, and by what needs it."""
    configure(place, Stats=True, StatsUser="ann", StatsPassFile="none")
    for line in ("check", "health"):
        done = shell(*line.split())
        assert (done.returncode, "StatsPassFile" in done.stdout + done.stderr) == (2, True)
    configure(place, Events={"Listen": 1}, Roster="x")
    for line in ("enqueue status", "dead"):
        assert not {"restbroker.config.events", "restbroker.config.roster"} & loaded(line.split(), place)
    found = shell("check").stdout
    for line, name in {"events tail --once": "Events.Listen", "roster show ann": "Roster"}.items():
        done = shell(*line.split())
        assert (done.returncode, name in done.stderr, name in found) == (2, True, True)
    (place / "env.json").write_text((place / "env.json").read_text().replace("Events", "Evnts"))
    assert "Evnts" in shell("dead").stderr


def test_a_broker_loads_only_libraries_that_it_needs(place: Path, store: Client) -> None:
    job = {"class": "A", "args": ["set_presence", {}, "right-token"], "jid": "j"}
    queues.push(store, "rest", [json.dumps(job).encode()])
    with AnsweringServer() as server:
        configure(place, RestURL=f"http://127.0.0.1:{server.port}/api")
        with started(["run"], directory=place, command=COMMAND) as broker:
            until(lambda: len(server.arrivals) == 1, "the job is delivered")
            assert broker.stop() == 0, broker.output()
    modules = (place / "loaded").read_text().split()
    # What writes XML loads them, for one function.
    assert not {"email", "http.client", "urllib.request", "xml.sax"} & {*modules}
    found = {name.partition(".")[0] for name in modules}
    more = found - NEEDED - sys.stdlib_module_names - {"restbroker"}
    assert not more, ADVICE.format(more=", ".join(sorted(more)))
