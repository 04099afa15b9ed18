"""`python -m tests.record`: ask a real server again what tests/recorded has of it, and write its answers there.

It starts the server and does the steps of its recorded files with restbroker's own connectors. A version that has no
files gets those of the newest one that has. A new step is a line `{"step": …}` between others (`steps.Step`).
`--root`: a folder with an unpacked system (debootstrap) in which the server runs by chroot. The modules of Prosody that
Debian lacks are those of the folder PROSODY_MODULES.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import trio

from tests.record import ejabberd, prosody
from tests.record.steps import ADDRESS, Result, Step, Steps, run
from tests.record.tap import Tap
from tests.support.player import FOLDER, parsed
from tests.support.receiver import Receiver

SERVERS: Final = {"ejabberd": ejabberd, "prosody": prosody}
_JOKE: Final = re.compile(r"(?<=is not here\. )[^<]*")
"""What Prosody's page of a 404 says besides; it is drawn by lot."""


def main() -> None:
    """Record all of it, and say which answers are otherwise than before."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.record", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("server", choices=SERVERS)
    parser.add_argument("--root", default="", help="a folder with an unpacked system in which the server runs")
    given = parser.parse_args()
    for file, text, changed in recorded(given.server, given.root):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
        sys.stdout.write("\n  ".join([f"{file.relative_to(FOLDER)}: {len(changed)} new or otherwise", *changed]) + "\n")


def recorded(name: str, root: str = "") -> Iterator[tuple[Path, str, list[str]]]:
    """Yield each file with its text as the server answers now, and the requests that were not answered so before."""
    with TemporaryDirectory() as folder, SERVERS[name].started(Path(folder), root) as (version, source, tap, files):
        for each in files:
            file = FOLDER / name / version / f"{each}.json"
            lines = _lines(file if file.exists() else max(FOLDER.glob(f"{name}/*/{each}.json")))
            steps = [Step(**part["step"], about=part.get("about", "")) for _, part in lines if "step" in part]
            exchanges = trio.run(_exchanges, tap, Steps(steps, SERVERS[name].entry))
            # What is as before keeps its line: the order of members is random at Prosody.
            known = {_same(part): line for line, part in lines if "response" in part}
            written = [known.get(_same(exchange)) or json.dumps(exchange, ensure_ascii=False) for exchange in exchanges]
            head = json.dumps({"server": f"{name} {version}", "source": source, "exchanges": []}, ensure_ascii=False)
            text = head.removesuffix("]}") + "\n" + ",\n".join(written) + "\n]}\n"
            yield file, text, [_short(exchange["request"]) for exchange in exchanges if _same(exchange) not in known]


async def _exchanges(tap: Tap, steps: Steps) -> Sequence[Mapping[str, Any]]:
    exchanges: list[dict[str, Any]] = []

    def before(step: Step) -> None:
        tap.source = "127.0.0.2" if step.login == ADDRESS else "127.0.0.1"

    def each(step: Step, _result: Result) -> None:
        first, *others = tap.taken()
        first |= {"step": step.written()} | ({"about": step.about} if step.about else {})
        exchanges.extend([first, *others])

    with Receiver(tap) as receiver:
        await run(steps, receiver.url, each, before)
    return exchanges


def _lines(file: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the lines of a recorded file, one for each exchange, with what they mean."""
    lines = (line.removesuffix(",") for line in file.read_text("utf-8").splitlines()[1:-1])
    return [(line, json.loads(line)) for line in lines]


def _same(exchange: Mapping[str, Any]) -> str:
    """Return what two exchanges have in common that differ in nothing but the order of members, or in a joke."""
    response = exchange["response"]
    body = parsed(_JOKE.sub("", response.get("body", "")))
    return json.dumps({**exchange, "response": {**response, "body": body}}, sort_keys=True)


def _short(request: Mapping[str, Any]) -> str:
    return f"{request['method']} {request['path']} {request.get('body', '')}".rstrip()


if __name__ == "__main__":
    main()
