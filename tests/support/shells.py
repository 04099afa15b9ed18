"""A shell on a terminal of its own, in which keys are pressed. For the tests of completion.

Always holds: the shell has an empty home, and a `restbroker` on its PATH that is this checkout's.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import attrs

from tests.support import terminal
from tests.support.process import clean_environment
from tests.support.terminal import Terminal

_COMMANDS: Mapping[str, tuple[str, ...]] = {"bash": ("bash", "-i"), "zsh": ("zsh", "-i"), "fish": ("fish", "-i")}
_TO_BEGIN, _TO_END = "\x01", "\x05"
_MARK = "LINE:"


@attrs.frozen
class Shell:
    """An interactive shell."""

    terminal: Terminal

    def completed(self, line: str) -> str:
        # The shell takes what is typed meanwhile when it is done with the Tab. Split, so that it is not found in what
        # the terminal shows of the typing.
        self.terminal.type(f"{line}\t{_TO_BEGIN}echo '{_MARK[:2]}''{_MARK[2:]}<{_TO_END}>'\r")
        self.terminal.until(f"{_MARK}<")
        return self.terminal.until(">")


def home(folder: Path) -> Path:
    """The folder, made for a shell: without a file of its own, zsh would first ask its user questions."""
    folder.mkdir(exist_ok=True)
    (folder / ".zshrc").touch()
    return folder


def environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Where the shell has `restbroker` on its PATH."""
    folder = home / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "restbroker"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m restbroker "$@"\n')
    program.chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    own = {"HOME": str(home), "PATH": path, "TERM": "dumb", "LC_ALL": "C.UTF-8", "XDG_CONFIG_HOME": f"{home}/.config"}
    return clean_environment({**own, **(extra or {})})


def install(shell: str, home: Path) -> None:
    """Have that shell load what `restbroker completion` prints, as docs/cli.md says."""
    lines = {"bash": (".bashrc", "", "source <(restbroker completion bash)\n")}
    lines["zsh"] = (".zshrc", "autoload -U compinit && compinit\n", "source <(restbroker completion zsh)\n")
    if shell == "fish":
        script = subprocess.run(
            ["restbroker", "completion", "fish"], env=environment(home), capture_output=True, text=True, check=True
        ).stdout
        file = home / ".config" / "fish" / "completions" / "restbroker.fish"
        file.parent.mkdir(parents=True)
        file.write_text(script)
        return
    name, *texts = lines[shell]
    (home / name).write_text("".join(texts))


@contextmanager
def opened(shell: str, home: Path, directory: Path) -> Iterator[Shell]:
    # fish ends without a controlling terminal.
    with terminal.opened(_COMMANDS[shell], directory, environment(home)) as own:
        yield Shell(own)
