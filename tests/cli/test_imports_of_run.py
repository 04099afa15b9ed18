"""What a broker loads stays in its memory for as long as it runs: one that nobody needs there does not slip in."""

import json
import sys
from pathlib import Path

from restbroker.store import queues
from restbroker.store.client import StoreSettings, open_client
from tests.support.answering import AnsweringServer
from tests.support.process import started
from tests.support.redis_server import RedisServer
from tests.support.wait import until

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

def tell():
    # Cython makes some modules that no file holds.
    loaded = [name for name in set(sys.modules) - before if getattr(sys.modules[name], "__spec__", None)]
    open("loaded", "w").write(" ".join(loaded))

atexit.register(tell)
from restbroker.__main__ import main
main()
"""


def test_a_broker_loads_no_library_but_those_that_it_needs(redis_server: RedisServer, tmp_path: Path) -> None:
    client = open_client(StoreSettings(redis_server.url))
    queues.push(client, "rest", [json.dumps({"class": "Add", "args": ["set_presence", {}, "t"], "jid": "j"}).encode()])
    client.close()
    with AnsweringServer() as server:
        document = {"RedisURL": redis_server.url, "RestURL": f"http://127.0.0.1:{server.port}/api", "RestQueue": "rest"}
        (tmp_path / "env.json").write_text(json.dumps(document | {"Token": "t"}))
        with started([], directory=tmp_path, command=(sys.executable, "-c", SCRIPT, "run")) as broker:
            until(lambda: len(server.arrivals) == 1, "the job is delivered")
            assert broker.stop() == 0, broker.output()
    loaded = {name.partition(".")[0] for name in (tmp_path / "loaded").read_text().split()}
    more = loaded - NEEDED - sys.stdlib_module_names - {"restbroker"}
    assert not more, ADVICE.format(more=", ".join(sorted(more)))
