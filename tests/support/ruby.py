"""Ruby's Sidekiq, asked by scripts: each runs once, reads a request in JSON on stdin and prints an answer in JSON.

Used by the tests of tests/sidekiq/, whose `*.rb` files are the scripts; connect.rb there is what they share. Always
holds: a script that fails fails the test with what Ruby said, a missing Ruby is a failure that says how to install it,
and a script sees no Redis but the one it is given.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from restbroker.job.json_types import Json

SCRIPTS: Final = Path(__file__).parents[1] / "sidekiq"

_OTHER_REDIS: Final = ("REDIS_", "BUNDLE_", "RUBYOPT", "RUBYLIB", "SIDEKIQ_", "MALLOC_ARENA_MAX")


def ruby() -> str:
    """Debian's Ruby, which finds Debian's Sidekiq 6.4.1; fails with the way to install them."""
    # Debian's by its path: another Ruby that comes first on PATH would not find Debian's gems.
    found = shutil.which("ruby", path="/usr/bin")
    assert found, "ruby is not installed; `make test` installs it, or: sudo apt-get install ruby-sidekiq ruby-activejob"
    return found


def environment(redis_url: str, *, namespace: str = "", extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process' environment for a Ruby that shall work on `redis_url`, with the keys' `namespace`, if any."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_OTHER_REDIS)}
    return {**kept, "REDIS_URL": redis_url, "SIDEKIQ_NAMESPACE": namespace, "LC_ALL": "C.UTF-8", **(extra or {})}


def ask(
    script: str, redis_url: str, /, *, namespace: str = "", timeout_s: float = 30.0, **request: Json
) -> Any:  # any JSON
    """Runs `tests/sidekiq/SCRIPT` with `request` as one object, and returns its answer.

    Fails with Ruby's error if there is one; raises TimeoutExpired after `timeout_s` seconds, the script killed.
    """
    done = subprocess.run(
        [ruby(), str(SCRIPTS / script)],
        env=environment(redis_url, namespace=namespace),
        input=json.dumps(request),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, f"{script} failed on {request}:\n{done.stderr}"
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise AssertionError(f"{script} printed no JSON:\n{done.stdout}\n{done.stderr}") from None
