"""`python -m tests.record ejabberd|prosody [--root DIR]`: record what a real server answers, into tests/recorded.

It starts the server, does the steps of tests/record/SERVER.py with restbroker's own connectors, and writes each file as
SERVER/VERSION/NAME.json. It says which exchanges are otherwise than they were: recorded twice, only those differ in
which the server tells something that is new each time. `--root`: a folder with an unpacked system (debootstrap) in
which the server runs by chroot. The modules of Prosody that Debian lacks are those of the folder PROSODY_MODULES.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio

from tests.record import ejabberd, prosody
from tests.record.steps import ADDRESS, Result, Step, Steps, run
from tests.record.tap import Tap
from tests.support.player import FOLDER, parsed
from tests.support.receiver import Receiver

_SERVERS = {"ejabberd": ejabberd.started, "prosody": prosody.started}


def main() -> None:
    """Record all of it."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.record", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("server", choices=_SERVERS)
    parser.add_argument("--root", default="", help="a folder with an unpacked system in which the server runs")
    given = parser.parse_args()
    with _folder(given.root) as folder, _SERVERS[given.server](folder, given.root) as (version, source, tap, files):
        for name, steps in files.items():
            exchanges = trio.run(_recorded, tap, steps)
            _write(
                f"{given.server}/{version}/{name}", {"server": f"{given.server} {version}", "source": source}, exchanges
            )


@contextmanager
def _folder(root: str) -> Iterator[Path]:
    """A folder of the server's own, which has the same path within its root."""
    with tempfile.TemporaryDirectory(prefix="record-", dir=f"{root}/tmp") as made:
        if not root:
            yield Path(made)
            return
        link = Path("/tmp", Path(made).name)  # noqa: S108  # a root has no other folder that is sure to be there
        link.symlink_to(made)
        try:
            yield link
        finally:
            link.unlink()


async def _recorded(tap: Tap, steps: Steps) -> list[dict[str, Any]]:
    exchanges: list[dict[str, Any]] = []

    def before(step: Step) -> None:
        tap.source = "127.0.0.2" if step.login == ADDRESS else "127.0.0.1"

    def each(step: Step, result: Result) -> None:
        first, *others = tap.taken()
        first |= {"step": step.written()} | ({"about": step.about} if step.about else {})
        exchanges.extend([first, *others])

    with Receiver(tap) as receiver:
        await run(steps, receiver.url, each, before)
    return exchanges


def _write(name: str, head: Mapping[str, str], exchanges: Sequence[Mapping[str, Any]]) -> None:
    """Write the file, one exchange a line, and say which are otherwise than before; what is not, keeps its line."""
    file, dumps = FOLDER / f"{name}.json", partial(json.dumps, ensure_ascii=False)
    before = file.read_text("utf-8").splitlines()[1:-1] if file.exists() else []
    known = {_same(json.loads(line)): line for line in (line.removesuffix(",") for line in before)}
    new = [one["request"] for one in exchanges if _same(one) not in known]
    opening = dumps({**head, "exchanges": []}).removesuffix("]}")
    lines = ",\n".join(known.get(_same(one)) or dumps(one) for one in exchanges)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{opening}\n{lines}\n]}}\n", "utf-8")
    sys.stdout.write(f"{name}: {len(exchanges)} exchanges, {len(new)} of them new or otherwise than before\n")
    for request in new if before else ():
        sys.stdout.write(f"  {request['method']} {request['path']} {request.get('body', '')}\n")


def _same(exchange: Mapping[str, Any]) -> str:
    """Return what two exchanges have in common that differ in nothing but the order of members: Prosody's is random."""
    response = exchange["response"]
    body = parsed(response.get("body", ""))
    return json.dumps({**exchange, "response": {**response, "body": body}}, sort_keys=True)


if __name__ == "__main__":
    main()
