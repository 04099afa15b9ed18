"""A real ejabberd that `ejabberdctl` itself started, and `ejabberdctl` for it.

Always holds: it needs neither epmd nor another user, as `tests.support.ejabberd`; the program is Debian's own script,
but for the user that it would change to.
"""

import shutil
import stat
from pathlib import Path

import attrs

from tests.support.ejabberd import Ejabberd
from tests.support.ports import free_port

_WRAPPER = """\
#!/bin/sh
HOME={directory} exec {program} --config-dir {directory} --logs {directory} --spool {directory}/spool "$@" \\
  2>{directory}/stderr
"""


@attrs.frozen
class Node:
    """The server, and the folder in which its `ejabberdctl` is: to be put into PATH."""

    server: Ejabberd
    programs: Path


def start(directory: Path) -> Node:
    """Starts one. Its domains are those of every other ejabberd of the tests."""
    directory.mkdir(parents=True, exist_ok=True)
    found = shutil.which("ejabberdctl") or "/usr/sbin/ejabberdctl"
    program = _executable(directory / "theirs", Path(found).read_text().replace("INSTALLUSER=ejabberd", "INSTALLUSER="))
    # Of a node that takes more than 7 s to answer, since the machine is busy, it would say that it is down.
    patience = 'ERL_OPTIONS="-kernel net_setuptime 120"'
    (directory / "ejabberdctl.cfg").write_text(f"ERL_DIST_PORT={free_port()}\n{patience}\n")
    (directory / "inetrc").write_text('{lookup,["file","native"]}.\n{host,{127,0,0,1},["localhost"]}.\n')
    (directory / "programs").mkdir()
    text = _WRAPPER.format(directory=directory, program=program)
    wrapper = _executable(directory / "programs" / "ejabberdctl", text)
    server = Ejabberd(directory, by=(str(wrapper), "foreground"))
    return Node(server.start(), wrapper.parent)


def _executable(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path
