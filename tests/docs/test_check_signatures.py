"""What docs/check-signatures.md has a receiver run: it takes restbroker's own requests, and refuses all others.

Each block runs as it stands, before a loop that reads requests.
"""

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs
import pytest

from dev.tools.pages import ROOT, blocks
from restbroker.config.load import load
from restbroker.job.command import Call, Command
from restbroker.servers import registry
from restbroker.servers.http.catalogue import settings_of
from restbroker.servers.http.request import build
from restbroker.transport.message import Request

PAGE: Final = ROOT / "docs" / "check-signatures.md"
SECRET, NEW = "whsec_" + "QUJD" * 10, "whsec_" + "REVG" * 10
REFUSED: Final = "refused"
LOOPS: Final[Mapping[str, tuple[Sequence[str], str]]] = {
    "python": (
        (sys.executable, "-c"),
        """
import json, sys
for line in sys.stdin:
    headers, body, secret = json.loads(line)
    try:
        print(verify(headers, body.encode(), secret))
    except ValueError:
        print("refused")
""",
    ),
    "ruby": (
        ("/usr/bin/ruby", "-e"),
        """
require "json"
STDIN.each_line do |line|
  puts verify(*JSON.parse(line))
rescue RuntimeError
  puts "refused"
end
""",
    ),
}
"""By language: how a program starts, and what stands behind the page's block. Needs: apt-get install ruby."""


def signed(place: Path, secrets: Sequence[str], at_s: float) -> Request:
    """Return the request of a job to the target that the page shows, signed at `at_s` with these secrets."""
    (shown,) = blocks(PAGE, "json")
    files = [place / f"signing{number}" for number in range(len(secrets))]
    for file, secret in zip((place / "token", *files), ("t", *secrets), strict=True):
        file.write_text(secret)
    configuration = json.loads(shown.replace("/etc/restbroker/", f"{place}/"))
    options = configuration["Targets"]["backend"]["Options"]
    options["SigningSecrets"] = [options["SigningSecrets"][0] | {"File": str(file)} for file in files]
    (place / "env.json").write_text(json.dumps(configuration))
    (target,) = load(place / "env.json", {}, {}, registry.kinds()).config.targets
    settings = settings_of(target)
    call = Call(Command("event", {"text": "gr\u00fc\u00dfe"}), identity="8f3b2c1d4e5f60718293a4b5")
    keys = [secret.reveal() for secret in settings.signing]
    return build(call, settings.recipes["event"], target, (), keys, at_s)


@pytest.mark.parametrize("language", LOOPS)
def test_the_page_s_receiver_takes_what_is_signed_and_nothing_else(language: str, tmp_path: Path) -> None:
    now_s = time.time()
    good, both, old, late = (
        signed(tmp_path, secrets, at_s)
        for secrets, at_s in (
            ([SECRET], now_s),
            ([NEW, SECRET], now_s),
            ([SECRET], now_s - 400),
            ([SECRET], now_s + 400),
        )
    )
    bare = attrs.evolve(good, headers=tuple(pair for pair in good.headers if not pair[0].startswith("webhook-")))
    other = attrs.evolve(good, headers=tuple((name, "x" if name == "webhook-id" else it) for name, it in good.headers))
    cases = [(good, SECRET), (both, SECRET), (both, NEW)]
    wrong = [(good, NEW), (old, SECRET), (late, SECRET), (bare, SECRET), (other, SECRET)]
    wrong.append((attrs.evolve(good, body=good.body + b" "), SECRET))
    lines = [json.dumps([dict(request.headers), request.body.decode(), secret]) for request, secret in (*cases, *wrong)]
    words, loop = LOOPS[language]
    (block,) = blocks(PAGE, language)
    done = subprocess.run(
        [*words, block + loop], input="\n".join(lines), capture_output=True, text=True, check=True, timeout=60
    )
    jid = dict(good.headers)["webhook-id"]
    assert done.stdout.split() == [jid] * len(cases) + [REFUSED] * len(wrong)
