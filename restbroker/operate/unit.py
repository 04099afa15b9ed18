"""The service of systemd that runs restbroker with a configuration, and what its user cannot read.

Asked by `check` and `config init`. Always holds: nothing is changed; without systemd there is no service.
"""

import grp
import os
import pwd
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from restbroker.light import frozen

NAME: Final = "restbroker"
_ASKED: Final = ("systemctl", "show", "--property=User,Group,SupplementaryGroups,ExecStart", f"{NAME}.service")
_WAIT_S: Final = 5.0


@frozen
class Unit:
    """The service: the user and groups that it has beyond those of the user."""

    user: str
    groups: tuple[str, ...]

    def cannot_read(self, paths: Iterable[Path]) -> list[Path]:
        """Return those of these files that its user cannot read. Only root can ask; there are none for a new user."""
        try:
            who = pwd.getpwnam(self.user)
            more = [grp.getgrnam(name).gr_gid for name in self.groups]
        except KeyError:  # systemd makes it at the start (DynamicUser)
            return []
        groups = [*os.getgrouplist(self.user, who.pw_gid), *more]

        def may_read(path: Path) -> bool:
            # Asked of the kernel, as this user: it also knows folders and access lists.
            uid, gid, words = who.pw_uid, who.pw_gid, ["test", "-r", str(path)]
            return subprocess.run(words, check=False, user=uid, group=gid, extra_groups=groups).returncode == 0

        return [path for path in paths if not may_read(path)]


def unit_with(path: Path) -> Unit | None:
    """Return the service that is started with this configuration file; None if there is none, or no systemd."""
    try:
        said = subprocess.run(_ASKED, check=False, capture_output=True, text=True, timeout=_WAIT_S).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    fields = dict(line.partition("=")[::2] for line in said.splitlines())
    started_with = [Path(word) for word in fields.get("ExecStart", "").split() if word.startswith("/")]
    if not any(file.exists() and file.samefile(path) for file in started_with):
        return None
    groups = f"{fields.get('Group', '')} {fields.get('SupplementaryGroups', '')}".split()
    return Unit(fields.get("User") or "root", tuple(groups))
