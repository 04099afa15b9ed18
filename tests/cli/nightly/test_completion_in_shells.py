"""What the Tab key does in real shells that load the script."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import terminal
from tests.support.process import clean_environment
from tests.support.terminal import Terminal

LINES = {
    "enqueu": "enqueue",
    "enqueue register us": "enqueue register user=",
    "enqueue register user=bob pa": "enqueue register user=bob password=@",
    "queues pause re": "queues pause rest",
    "targets pause ": "targets pause ejabberd",
    "dead list --where err": "dead list --where error=",
    "dead list --where error=TargetUnr": "dead list --where error=TargetUnreachable",
    "config init en": "config init env.json",
    "dead list --where=error=TargetUnr": "dead list --where=error=TargetUnreachable",
    "enqueue register --target=ej": "enqueue register --target=ejabberd",
    "stats --config=en": "stats --config=env.json",
    "stats --config en": "stats --config env.json",
    "dead list < en": "dead list < env.json",
    'dead list --where "error = Alr': 'dead list --where "error = AlreadyExists"',
    'queues pause --why "mails go out" re': 'queues pause --why "mails go out" rest',
}
"""What is typed, and what it becomes."""


_TO_BEGIN, _TO_END = "\x01", "\x05"
_MARK = "LINE:"


def completed(shell: Terminal, line: str) -> str:
    # The shell takes what is typed meanwhile when it is done with the Tab. Split, so that it is not found in what the
    # terminal shows of the typing.
    shell.type(f"{line}\t{_TO_BEGIN}echo '{_MARK[:2]}''{_MARK[2:]}<{_TO_END}>'\r")
    shell.until(f"{_MARK}<")
    return shell.until(">")


def environment(home: Path) -> dict[str, str]:
    """Where the shell has `restbroker` on its PATH."""
    folder = home / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "restbroker"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m restbroker "$@"\n')
    program.chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    own = {"HOME": str(home), "PATH": path, "TERM": "dumb", "LC_ALL": "C.UTF-8", "XDG_CONFIG_HOME": f"{home}/.config"}
    return clean_environment(own)


def install(shell: str, home: Path) -> None:
    """Have that shell load what `restbroker completion` prints, as docs/cli.md says."""
    home.mkdir()
    # Without a file of its own, zsh would first ask its user questions.
    (home / ".zshrc").touch()
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


@pytest.fixture
def keys() -> dict[str, str]:
    return {"JabberDomain": "example.org"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_tab_completes_in_a_real_shell_that_loads_the_script(shell: str, place: Path) -> None:
    home = place / "home"
    install(shell, home)
    # fish ends without a controlling terminal.
    with terminal.opened([shell, "-i"], place, environment(home)) as typing:
        for typed, expected in LINES.items():
            assert completed(typing, f"restbroker {typed}").rstrip() == f"restbroker {expected}"
        (home / "my env.json").touch()
        assert completed(typing, "~/bin/restbroker enqueu").rstrip() == "~/bin/restbroker enqueue"
        for option in ("--config=", "--config "):
            line = completed(typing, f"~/bin/restbroker stats {option}~/my")
            assert line.rstrip() == rf"~/bin/restbroker stats {option}~/my\ env.json"
    assert not (place / "run").exists()
