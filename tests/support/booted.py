"""A Debian of its own, booted with systemd: for tests of what is installed there. Only root can make one.

Always holds: it has no network while it is booted, and all of it is gone afterwards but what is `kept`. What is
downloaded for it comes from where apt on this machine has its packages, in the same way.
"""

import fcntl
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import attrs

from dev.tools.pages import ROOT
from tests.support.wait import until

_ENVIRONMENT: Final = {
    "DEBIAN_FRONTEND": "noninteractive",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
}
_KEPT: Final = ROOT / "build" / "debians"
_KEPT_S: Final = 7 * 86_400.0
_CHROOT: Final = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc=/proc", "--wd=/")
_BOOT: Final = """\
for at in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
  if [ -f $at/cgroup.procs ]; then mkdir -p "$at/$2" && echo $$ >"$at/$2/cgroup.procs" || exit; fi
done
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system &&
exec systemd-nspawn --quiet --register=no --keep-unit --private-network --console=pipe --boot --directory "$1"
"""
"""With a control group and a /run of its own, it touches nothing of this machine's, or of another Debian here."""


@attrs.frozen
class Tree:
    """The files of a Debian that is not booted, or is just being so."""

    path: Path

    def run(self, *words: str) -> str:
        """Runs a program in it, with this machine's network, and returns what it printed."""
        return _ran([*_CHROOT, f"--root={self.path}", *words])

    def apt_get(self, *words: str) -> str:
        """Runs apt-get in it, with this machine's network."""
        return self.run("apt-get", "-y", "-q", *words)

    def use(self, suite: str) -> None:
        """Has its apt take packages from this release."""
        (self.path / "etc/apt/sources.list").write_text(f"deb {_mirror()} {suite} main\n")
        self.apt_get("update")

    def copied(self, to: Path) -> "Tree":
        """A second tree with the same files."""
        subprocess.run(["cp", "-a", self.path, to], check=True)
        return Tree(to)


@attrs.frozen
class Booted:
    """A tree with its systemd, whose process `init` is."""

    tree: Tree
    init: int

    def run(self, *words: str, status: int = 0) -> str:
        """Runs a program in it, which must end with this status, and returns what it printed."""
        return _ran(["nsenter", f"--target={self.init}", "--all", *words], status)

    def shell(self, line: str) -> str:
        """Runs a line of bash."""
        return self.run("bash", "-c", line)


@contextmanager
def debian(suite: str, folder: Path, *packages: str) -> Iterator[Tree]:
    """A bare Debian of this release with these packages."""
    tree = Tree(folder / suite)
    try:
        Tree(kept(suite)).copied(tree.path)
        tree.use(suite)
        tree.apt_get("install", "--no-install-recommends", *packages)
        yield tree
    finally:
        shutil.rmtree(tree.path, ignore_errors=True)


def kept(suite: str, *packages: str) -> Path:
    """Returns the root of a Debian of this release with these packages, which is made again after a week."""
    assert os.geteuid() == 0, "Only root can make a Debian tree and boot it: run this test as root."
    place = _KEPT / "-".join((suite, *packages))
    new = _KEPT / "new" / place.name
    new.parent.mkdir(parents=True, exist_ok=True)
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = place / "etc/apt/sources.list"
        if not made.exists() or time.time() - made.stat().st_mtime > _KEPT_S:
            for old in (place, new):
                shutil.rmtree(old, ignore_errors=True)
            if packages:
                new.mkdir()
                with debian(suite, new, *packages) as tree:
                    tree.path.rename(place)
            else:
                _make_bare(suite, new)
                new.rename(place)
    return place


def _make_bare(suite: str, root: Path) -> None:
    _ran(["debootstrap", "--variant=minbase", suite, str(root), _mirror()])
    settings = [line for line in _ran(["apt-config", "dump"]).splitlines() if line.startswith("Acquire::")]
    (root / "etc/apt/apt.conf.d/90ours").write_text("\n".join(settings))
    (root / "etc/dpkg/dpkg.cfg.d/90ours").write_text("force-unsafe-io\n")
    (root / "etc/apt/sources.list").touch()


@contextmanager
def booted(tree: Tree) -> Iterator[Booted]:
    """The same after its boot, until the end of the block."""
    group = f"restbroker-test-{os.getpid()}"
    command = ["unshare", "--mount", "sh", "-c", _BOOT, "sh", str(tree.path), group]
    log = tree.path.with_suffix(".boot")
    with (
        log.open("w") as output,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output) as nspawn,
    ):
        try:
            init = until(lambda: _init_below(nspawn.pid), f"{tree.path.name} starts its systemd")
            found = Booted(tree, init)
            until(
                lambda: found.shell("systemctl is-system-running || true").strip() in {"running", "degraded"},
                "it is up",
            )
            yield found
        finally:
            nspawn.terminate()
            with suppress(subprocess.TimeoutExpired):
                nspawn.wait(60)
            nspawn.kill()
            nspawn.wait()
            for place in (path for depth in ("", "*/") for path in Path("/sys/fs/cgroup").glob(f"{depth}{group}")):
                _ran(["find", str(place), "-depth", "-type", "d", "-delete"])


def _mirror() -> str:
    words = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Component: main"]
    return _ran(words).split()[0]


def _init_below(pid: int) -> int:
    """Returns the process below this one that is the first of its namespace, once it is systemd, or 0."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
            if re.search(
                r"^Name:\tsystemd$[\s\S]*^NSpid:.*\t1$", Path(f"/proc/{child}/status").read_text(), re.MULTILINE
            ):
                return child
            if found := _init_below(child):
                return found
    return 0


def _ran(words: list[str], status: int = 0) -> str:
    done = subprocess.run(
        words,
        env=_ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == status, f"{words}: {done.returncode}\n{done.stdout[-4000:]}"
    return done.stdout
