"""Rosters out of a real ejabberd, by the script of contrib/rosters."""

import os
import subprocess
import sys
from pathlib import Path

from restbroker.rosters.files import read
from restbroker.rosters.rules import Contact
from tests.support.ejabberd import PASSWORD, Ejabberd

_SCRIPT = Path(__file__).parents[3] / "contrib" / "rosters" / "ejabberd.py"


def test_rosters_of_an_ejabberd_have_names_and_groups(ejabberd: Ejabberd) -> None:
    host = ejabberd.hosts[0]
    for user in ("imported", "friend"):
        ejabberd.call("register", user=user, host=host, password="secret")
    item = {"localuser": "imported", "localhost": host, "host": host, "nick": "Freund é", "group": "Work"}
    for user, subscription in (("friend", "both"), ("stranger", "from")):
        status, _ = ejabberd.call("add_rosteritem", **item, user=user, subs=subscription)
        assert status == 200

    def written(*users: str) -> subprocess.CompletedProcess[bytes]:
        words = [sys.executable, str(_SCRIPT), "--url", ejabberd.url, host, *users]
        environ = {**os.environ, "EJABBERD_LOGIN": f"{ejabberd.admin}:{PASSWORD}"}
        return subprocess.run(words, capture_output=True, check=False, env=environ)

    done = written()
    rosters = read(done.stdout, host).rosters
    assert rosters["imported"] == {f"friend@{host}": Contact("Freund é", ("Work",))}
    assert rosters["friend"] == {}
    assert done.stderr.startswith(b"1 contacts left out")
    assert written("imported", "nobody").stderr.endswith(b"nobody has no account on %s.\n" % host.encode())
