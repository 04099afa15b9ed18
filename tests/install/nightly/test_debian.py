"""The Debian package: the same file whoever builds it, and its life on an empty, booted Debian 12 and 13."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from dev.tools.pages import ROOT
from restbroker import __version__
from tests.install.conftest import Built
from tests.support.booted import Booted, Tree, booted, debian
from tests.support.wait import until

JOBS: Final = 2000
POWER_OFFS: Final = 5
NEWER: Final = f"{__version__}+newer"
SERVER: Final = """\
import http.server, os, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        time.sleep(0 if os.path.exists("/root/fast") else 1)
        with open("/root/seen", "a") as file: file.write(body + "\\n")
        self.send_response(200)
        self.send_header("Content-Length", "1")
        self.end_headers()
        self.wfile.write(b"0")
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", 5281), Handler).serve_forever()
"""
"""Stands for ejabberd: it writes down what was asked, and takes a second for each request until it may be fast."""
UNITS: Final = {
    "ejabberd": "[Service]\nExecStart=python3 /root/server.py\n",
    "prosody": "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=true\n",
}
"""What stands for the servers' units; each is started at boot."""
CONFIGURE: Final = """\
set -e
cd /etc/restbroker
echo secret >ejabberd
chmod 600 ejabberd
restbroker config init --yes --server ejabberd --auth basic --url http://127.0.0.1:5281/api \
  --redis redis://127.0.0.1:6379/0 --login admin@example.org --password-file ejabberd
sed -i '2i "AtMostOnce": ["register"], "HealthBind": "127.0.0.1:8090",' env.json
restbroker check | grep "UnitCannotRead.*/etc/restbroker/ejabberd"
chgrp restbroker ejabberd
chmod 640 ejabberd
if restbroker check | grep UnitCannotRead; then false; fi
"""
BY_HAND: Final = ("/etc/systemd/system/restbroker.service", "/usr/local/bin/restbroker")
OTHERS: Final = (
    *("dev", "proc", "root", "run", "sys", "tmp", "var/cache", "var/lib/apt", "var/lib/redis", "var/log"),
    *("var/lib/systemd/random-seed", "var/lib/systemd/timers", "var/tmp", "etc/.pwd.lock"),
)
"""Where a Debian writes whatever is installed."""

pytestmark = pytest.mark.slow  # a Debian is made, booted and upgraded


def package(wheel: Path, *how: str, **environ: str) -> bytes:
    """Builds the package in a folder that anybody may use."""
    words = ["-m", "dev.tools.debian_package", wheel.name, "."]
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o777)
        shutil.copy(wheel, place)
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "SOURCE_DATE_EPOCH": "1700000000", **environ}
        done = subprocess.run([*how, *words], cwd=place, env=environ, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return next(place.glob("*.deb")).read_bytes()


@pytest.fixture(scope="module")
def deb(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("deb") / "restbroker.deb"
    file.write_bytes(package(built.wheel, sys.executable))
    return file


@pytest.fixture(scope="module")
def newer(deb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The next version, with the same code."""
    tree = tmp_path_factory.mktemp("newer") / "tree"
    subprocess.run(["dpkg-deb", "--raw-extract", deb, tree], check=True)
    for name in ("DEBIAN/control", "usr/lib/restbroker/lib/common/restbroker/__init__.py"):
        file = tree / name
        file.write_text(re.sub(rf'(Version: |= "){re.escape(__version__)}', rf"\g<1>{NEWER}", file.read_text()))
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, tree.parent], check=True)
    return next(tree.parent.glob("*.deb"))


def test_package_is_the_same_whoever_builds_it(deb: Path, built: Built) -> None:
    """As nobody, with another umask, in another time zone, by the system's own Python."""
    how = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", 'umask 077; exec "$@"', "sh")
    path = f"{ROOT}:{sysconfig.get_path('purelib')}"
    again = package(built.wheel, *how, "/usr/bin/python3", TZ="Asia/Tokyo", PYTHONPATH=path, HOME="/")
    assert again == deb.read_bytes()


@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_package_lives_on_an_empty_debian(suite: str, deb: Path, newer: Path, tmp_path: Path) -> None:
    base = ("systemd", "systemd-sysv", "dbus", "redis-server", "man-db", "bash-completion", "zsh", "fish")
    with debian(suite, tmp_path, *base) as tree:
        shutil.copy(deb, tree.path / "root/old.deb")
        shutil.copy(newer, tree.path / "root/new.deb")
        (tree.path / "root/server.py").write_text(SERVER)
        for name, text in UNITS.items():
            (tree.path / f"etc/systemd/system/{name}.service").write_text(text)
            (tree.path / f"etc/systemd/system/multi-user.target.wants/{name}.service").symlink_to(f"../{name}.service")
        has_nothing_for_lintian(tree, tmp_path / "linted")
        tree.apt_get("install", "--no-install-recommends", "--download-only", "/root/old.deb")
        with booted(tree) as machine:
            before = files(tree), accounts(tree)
            is_installed(machine)
            fails_once_without_a_configuration(machine)
            is_configured_and_started(machine)
            is_upgraded_with_jobs_in_hand(machine)
            waits_for_redis_alone(machine)
            runs_on_if_the_newer_one_could_not_start(machine)
        loses_and_doubts_nothing_at_power_offs(tree)
        boots_without_redis(tree)
        with booted(tree) as machine:
            is_removed_and_replaces_an_installation_by_hand(machine)
            is_purged(machine)
            assert files(tree) ^ before[0] == {"etc/restbroker", "etc/restbroker/ejabberd"}
            assert accounts(tree) == before[1]
            if suite == "bookworm":
                install(machine, "old")
                is_configured_and_started(machine)
                goes_on_in_the_next_debian(machine)


def has_nothing_for_lintian(tree: Tree, place: Path) -> None:
    apart = tree.copied(place)
    apart.apt_get("install", "--no-install-recommends", "lintian")
    apart.run("lintian", "--allow-root", "--fail-on", "error,warning", "/root/old.deb")
    shutil.rmtree(place)


def files(tree: Tree) -> set[str]:
    """What is there, without what a Debian itself writes, and without the copies of /etc/passwd and its like."""
    found = set()
    for folder, folders, names in os.walk(tree.path):
        here = Path(folder).relative_to(tree.path)
        folders[:] = [name for name in folders if str(here / name) not in OTHERS]
        found |= {str(here / name) for name in (*folders, *names) if not name.endswith(("-", "-old"))}
    return found - set(OTHERS)


def accounts(tree: Tree) -> list[str]:
    return [(tree.path / "etc" / name).read_text() for name in ("passwd", "group", "shadow", "gshadow")]


def install(machine: Booted, name: str) -> str:
    return machine.run("apt-get", "-y", "install", "--no-install-recommends", f"/root/{name}.deb")


def upgrade(machine: Booted, name: str) -> tuple[float, str]:
    """Install another version, or an older one; return how many seconds it took, and what was printed."""
    began_s = time.monotonic()
    printed = machine.run("dpkg", "--install", f"/root/{name}.deb")
    return time.monotonic() - began_s, printed


def shown(machine: Booted, name: str, unit: str = "restbroker") -> str:
    return machine.run("systemctl", "show", "--value", f"--property={name}", unit).strip()


def state(machine: Booted) -> tuple[str, str]:
    shown = machine.run("systemctl", "show", "--property=UnitFileState,ActiveState", "restbroker")
    found = dict(line.split("=") for line in shown.split())
    return found["UnitFileState"], found["ActiveState"]


def runs(machine: Booted) -> None:
    """No package waits until the service does."""
    until(lambda: state(machine) == ("enabled", "active"), "it runs")


def is_installed(machine: Booted) -> None:
    assert "by hand" not in install(machine, "old")
    assert machine.run("restbroker", "--version") == f"restbroker {__version__}\n"
    assert state(machine) == ("disabled", "inactive")
    assert machine.run("stat", "-c", "%U:%G %a", "/etc/restbroker") == "root:restbroker 750\n"
    machine.run("man", "--where", "restbroker", "restbroker-enqueue", "restbroker-env.json")
    machine.shell(". /usr/share/bash-completion/bash_completion; _completion_loader restbroker; complete -p restbroker")
    machine.run("zsh", "-fc", "autoload -U compinit; compinit -u -d /tmp/zcomp; [[ -n ${_comps[restbroker]} ]]")
    assert machine.run("fish", "-c", 'complete -C "restbroker enq"').startswith("enqueue")
    assert machine.shell("find /usr/lib/restbroker /usr/bin/restbroker -perm /022 ! -type l") == ""


def fails_once_without_a_configuration(machine: Booted) -> None:
    machine.run("systemctl", "start", "restbroker", status=1)
    # Else it would be "activating", to be started again after a second.
    assert state(machine)[1] == "failed"
    assert machine.run("systemctl", "show", "--value", "--property=NRestarts", "restbroker") == "0\n"
    machine.run("systemctl", "reset-failed", "restbroker")


def is_configured_and_started(machine: Booted) -> None:
    machine.run("systemctl", "start", "ejabberd")
    machine.shell(CONFIGURE)
    machine.run("systemctl", "enable", "--now", "restbroker")
    machine.run("restbroker", "enqueue", "--wait", "register", "user=first", "host=example.org", "password=x")


def is_upgraded_with_jobs_in_hand(machine: Booted) -> None:
    seen, rows = machine.tree.path / "root/seen", machine.tree.path / "root/rows.csv"
    rows.write_text("user,host,password\n" + "".join(f"u{number},example.org,x\n" for number in range(JOBS)))
    machine.run("restbroker", "enqueue", "register", "--bulk", "/root/rows.csv")

    def users() -> list[str]:
        return re.findall(r'"user": ?"(u\d+)"', seen.read_text())

    until(lambda: len(users()) > JOBS / 20, "some of the jobs are done", timeout_s=60)
    install(machine, "new")
    assert len(users()) < JOBS
    machine.run("touch", "/root/fast")
    runs(machine)
    assert machine.run("restbroker", "--version") == f"restbroker {NEWER}\n"
    until(lambda: len(set(users())) == JOBS, "all jobs are done", timeout_s=120)
    machine.run("restbroker", "enqueue", "--wait", "register", "user=last", "host=example.org", "password=x")
    assert len(users()) == JOBS
    assert machine.run("stat", "-c", "%U:%G %a", "/etc/restbroker/env.json") == "root:restbroker 640\n"


def waits_for_redis_alone(machine: Booted) -> None:
    """Neither a start nor an upgrade waits for a Redis that is away; as soon as it comes, the job is done."""
    seen = machine.tree.path / "root/seen"
    usual_s, _ = upgrade(machine, "old")
    machine.run("systemctl", "stop", "restbroker")
    machine.run("restbroker", "enqueue", "register", "user=waiting", "host=example.org", "password=x")
    machine.run("systemctl", "stop", "redis-server")
    machine.run("systemctl", "start", "restbroker")
    took_s, _ = upgrade(machine, "new")
    assert took_s < 2 * usual_s + 10
    waits = "The broker waits for Redis. Redis at 127.0.0.1:6379 cannot be reached"
    until(lambda: shown(machine, "StatusText").startswith(waits), "it says what it waits for")
    assert '"ready": false' in machine.run("restbroker", "health", "--ready", status=1)
    machine.run("systemctl", "start", "redis-server")
    until(lambda: "waiting" in seen.read_text(), "the job is done", timeout_s=5)


def runs_on_if_the_newer_one_could_not_start(machine: Booted) -> None:
    file = machine.tree.path / "etc/restbroker/env.json"
    right, before = file.read_text(), shown(machine, "MainPID")
    file.write_text(right.replace('"RestQueue"', '"RestQuoue"'))
    _, printed = upgrade(machine, "old")
    assert "the version before runs on" in printed
    assert "RestQuoue: is not a key of restbroker; did you mean RestQueue?" in printed
    file.write_text(right)
    machine.run("restbroker", "enqueue", "--wait", "register", "user=meanwhile", "host=example.org", "password=x")
    machine.run("systemctl", "reload", "restbroker")
    assert "files were replaced" in machine.run("journalctl", "--unit=restbroker", "--lines=5", "--output=cat")
    assert shown(machine, "MainPID") == before
    upgrade(machine, "new")
    until(lambda: shown(machine, "MainPID") not in {"0", before}, "another process runs")
    assert not list((machine.tree.path / "run").glob("**/*restbroker-try*"))


def loses_and_doubts_nothing_at_power_offs(tree: Tree) -> None:
    """Redis and the server stop once restbroker has, so that no job of AtMostOnce dies as one that may have run."""
    seen, fast, rows = (tree.path / "root" / name for name in ("seen", "fast", "rows.csv"))

    def users() -> list[str]:
        return re.findall(r'"user": ?"([ab]\d+)"', seen.read_text())

    def has_done(count: int) -> bool:
        return len(users()) >= count

    fast.unlink()
    with booted(tree) as machine:
        for command, letter, column in (("register", "a", "password"), ("change_password", "b", "newpass")):
            lines = "".join(f"{letter}{number},example.org,x\n" for number in range(JOBS))
            rows.write_text(f"user,host,{column}\n{lines}")
            machine.run("restbroker", "enqueue", command, "--bulk", "/root/rows.csv")
    for _ in range(POWER_OFFS):
        with booted(tree):
            until(partial(has_done, len(users()) + 20), "some more are done")
    assert len(users()) < JOBS
    with booted(tree) as machine:
        fast.touch()
        until(lambda: len(set(users())) == 2 * JOBS, "all jobs are done")
        assert machine.run("redis-cli", "ZCARD", "dead") == "0\n"
    assert len(users()) == 2 * JOBS


def boots_without_redis(tree: Tree) -> None:
    """A Prosody that asks restbroker waits for it, a minute at most."""
    drop_in, ready = "/etc/systemd/system/restbroker.service.d", "/etc/systemd/system/restbroker-ready.service"

    def took_s(machine: Booted) -> float:
        names = ("FinishTimestampMonotonic", "UserspaceTimestampMonotonic")
        end, begin = (int(machine.run("systemctl", "show", "--value", f"--property={name}")) for name in names)
        return (end - begin) / 1e6

    with booted(tree) as machine:
        machine.run("systemctl", "disable", "redis-server")
    with booted(tree) as machine:
        assert (took_s(machine) < 10, state(machine)) == (True, ("enabled", "active"))
        lines = f"install -D -m 644 prosody.conf -t {drop_in} && install -m 644 restbroker-ready.service {ready}"
        machine.shell(
            f"cd /usr/share/doc/restbroker/examples && {lines} && systemctl enable redis-server restbroker-ready"
        )
    with booted(tree) as machine:
        assert (took_s(machine) < 30, shown(machine, "Result", "restbroker-ready")) == (True, "success")
        machine.run("systemctl", "disable", "redis-server")
    with booted(tree) as machine:
        assert (55 < took_s(machine) < 70, shown(machine, "Result", "restbroker-ready")) == (True, "timeout")
        assert shown(machine, "ActiveState", "prosody") == "active"
        machine.shell(
            f"systemctl enable --now redis-server && systemctl disable restbroker-ready && rm -r {drop_in} {ready}"
        )


def is_removed_and_replaces_an_installation_by_hand(machine: Booted) -> None:
    machine.run("apt-get", "-y", "remove", "restbroker")
    assert state(machine)[1] == "inactive"
    install(machine, "new")
    runs(machine)
    machine.run("apt-get", "-y", "remove", "restbroker")
    assert state(machine)[1] == "inactive"
    machine.shell("test -f /etc/restbroker/env.json && ! test -e /usr/lib/restbroker && mkdir /opt/restbroker")
    for path in BY_HAND:
        shutil.copy(ROOT / "contrib/restbroker.service", machine.tree.path / path.removeprefix("/"))
    printed = install(machine, "new")
    assert f"by hand hides this package: {' '.join(BY_HAND)}." in printed
    machine.shell("set -e\n" + "\n".join(re.findall(r"^    (.*)", printed, re.MULTILINE)))
    assert state(machine) == ("enabled", "active")


def is_purged(machine: Booted) -> None:
    machine.run("systemctl", "stop", "ejabberd")
    assert "files of your own" in machine.run("apt-get", "-y", "purge", "--autoremove", "restbroker")
    install(machine, "old")
    machine.shell("mv /etc/restbroker /srv/linked && ln -s /srv/linked /etc/restbroker")
    assert "What is in /srv/linked stays: ejabberd" in machine.run("apt-get", "-y", "purge", "restbroker")
    machine.shell("mv /srv/linked /etc/restbroker")


def goes_on_in_the_next_debian(machine: Booted) -> None:
    machine.tree.use("trixie")
    machine.tree.apt_get("dist-upgrade", "--download-only")
    machine.run("apt-get", "-y", "-o", "Dpkg::Options::=--force-confold", "dist-upgrade", "--no-download")
    assert (machine.tree.path / "etc/debian_version").read_text().startswith("13")
    runs(machine)
    number = machine.run("systemctl", "show", "--value", "--property=MainPID", "restbroker").strip()
    assert machine.run("readlink", f"/proc/{number}/exe") == "/usr/bin/python3.13\n"
    machine.run("restbroker", "enqueue", "--wait", "register", "user=after", "host=example.org", "password=x")
