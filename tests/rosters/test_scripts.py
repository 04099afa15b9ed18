"""The scripts of contrib/rosters: what they write of other files and of an ejabberd is imported as it is."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final

import pytest

from restbroker.rosters.files import read
from restbroker.rosters.rules import Contact

_SCRIPTS: Final = Path(__file__).parents[2] / "contrib" / "rosters"
ANN: Final = {"ann@example.org": Contact("Ann é", ("Fri;ends", 'Wo"rk'))}
ENTRIES: Final = [
    {"jid": "ann@example.org", "nick": "Ann é", "subscription": "both", "group": "Fri;ends"},
    {"jid": "ann@example.org", "nick": "Ann é", "subscription": "both", "group": 'Wo"rk'},
    {"jid": "bob@example.org", "nick": "", "subscription": "from", "groups": []},
]
ANSWERS: Final[Mapping[str, Any]] = {
    "/api/registered_users": ["john"],
    "/api/get_roster": ENTRIES,
    "/api/check_account": 1,
}
# As util.datamanager of Prosody 0.12.3 writes it.
DAT: Final = """return {
	["ann@example.org"] = {
		["name"] = "Ann \\195\\169";
		["subscription"] = "both";
		["groups"] = {
			["Wo\\"rk"] = true;
			["Fri;ends"] = true;
		};
	};
	["bob@example.org"] = {
		["subscription"] = "from";
		["groups"] = {};
	};
	[false] = {
		["version"] = 3;
	};
};
"""


@pytest.fixture
def api() -> Iterator[str]:
    """The address of an API that answers as ejabberd's does."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert json.loads(self.rfile.read(int(self.headers["Content-Length"])))["host"] == "example.org"
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(ANSWERS[self.path]).encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()
        thread.join()


def written(*words: str | Path, code: int = 0) -> tuple[bytes, str]:
    done = subprocess.run(words, capture_output=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr.decode()


def test_rosters_of_an_ejabberd_are_written_for_import(api: str) -> None:
    words = (sys.executable, _SCRIPTS / "ejabberd.py", "--url", api, "example.org")
    found, said = written(*words)
    assert read(found, "example.org").rosters == {"john": ANN}
    assert said.startswith("1 contacts left out")
    found, said = written(*words, "--one-sided")
    assert (read(found, "example.org").rosters, said) == ({"john": {**ANN, "bob@example.org": Contact()}}, "")
    assert written(*words, "nobody", code=1) == (b"", "nobody has no account on example.org.\n")
    away = (*words[:2], "--url", "http://127.0.0.1:1/api", "example.org")
    assert written(*away, code=1)[1].startswith("ejabberd gives no answer: ")


def test_rosters_of_prosodys_files_are_written_for_import(tmp_path: Path) -> None:
    files = [tmp_path / "john.dat", tmp_path / "jo%2dann.dat"]
    for file in files:
        file.write_text(DAT)
    found, said = written("lua", _SCRIPTS / "prosody.lua", *files)
    assert read(found, "example.org").rosters == {"john": ANN, "jo-ann": ANN}
    assert said.startswith("2 contacts left out")
    found, said = written("lua", _SCRIPTS / "prosody.lua", "--one-sided", files[0])
    assert (read(found, "example.org").rosters, said) == ({"john": {**ANN, "bob@example.org": Contact()}}, "")
    files[0].write_text("return os.getenv('HOME')")
    assert written("lua", _SCRIPTS / "prosody.lua", files[0], code=1)[0] == b""


def test_rosters_in_a_table_or_in_json_are_written_for_import(tmp_path: Path) -> None:
    table, document = tmp_path / "rosters.csv", tmp_path / "rosters.json"
    rows = ("user,jid,name,groups", 'john,ann@example.org,Ann é,"[""Fri;ends"", ""Wo\\""rk""]"', "jo-ann,,,")
    table.write_text("\n".join((*rows, "zoe,bob@example.org,'=Bob,Work; Friends")), "utf-8-sig")
    found, _ = written(sys.executable, _SCRIPTS / "table.py", table)
    bob = {"bob@example.org": Contact("=Bob", ("Friends", "Work"))}
    assert read(found, "example.org").rosters == {"john": ANN, "jo-ann": {}, "zoe": bob}
    for wrong in (
        "user,jid,nick\nu,a@b,A",
        "user;jid\nu;a@b",
        "user,jid,name\nu,,Ann",
        "user,jid\nu,a@b,x",
        "user,jid\nu",
    ):
        table.write_text(wrong)
        assert written(sys.executable, _SCRIPTS / "table.py", table, code=1)[0] == b""
    document.write_text(json.dumps({"zoe": {"bob@example.org": {"name": "=Bob", "groups": ["Work", "Friends"]}}}))
    found, _ = written("jq", "-c", "-f", _SCRIPTS / "json.jq", document)
    assert read(found, "example.org").rosters == {"zoe": bob}
