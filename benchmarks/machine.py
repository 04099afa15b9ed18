"""On what the figures were taken: part of every result, so that nobody compares figures of two machines unawares."""

import json
import os
import platform
import re
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.peers import WORKERS


def machine(peers_python: str) -> dict[str, object]:
    """Processor, memory, kernel and the versions of everything that is measured."""
    return {
        "processor": _field("/proc/cpuinfo", "model name"),
        "cores": os.cpu_count(),
        "memory": _field("/proc/meminfo", "MemTotal"),
        "kernel": platform.release(),
        "versions": {
            "Python": f"{platform.python_version()} ({_build()})",
            **{name: version(name) for name in ("trio", "httpx", "hiredis", "orjson")},
            "nginx": _said("nginx", "-v"),
            "Redis": _said("redis-server", "--version"),
            "wrk": _said("wrk", "-v"),
            "Node": _said("node", "--version"),
            "Ruby": _said("ruby", "--version"),
            "Sidekiq": _said("sidekiq", "--version"),
            **_node_packages(),
            **_python_packages(peers_python),
        },
    }


def revision() -> str:
    """The commit that changed the package last, with a mark where it was changed since."""
    root = WORKERS.parents[1]
    done = subprocess.run(
        ["git", "log", "-1", "--format=%h", "--", "restbroker"], capture_output=True, text=True, check=False, cwd=root
    )
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "restbroker"], check=False, cwd=root)
    return (done.stdout.strip() or "unknown") + ("-dirty" if changed.returncode else "")


def _build() -> str:
    """How this interpreter was built: one with profile-guided optimisation is up to a quarter faster."""
    if "--enable-optimizations" in str(sysconfig.get_config_var("CONFIG_ARGS")):
        return "optimised"
    # Debian's and others' are optimised by other means than this option.
    return "of the distribution" if sys.base_prefix == "/usr" else "not optimised"


def _field(path: str, name: str) -> str:
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "unknown")


def _said(*command: str) -> str:
    """The first number with a dot in what a program says about itself (wrk says it with exit code 1)."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "not installed"
    found = re.search(r"\d+\.\d+[\w.]*", done.stdout + done.stderr)
    return found[0] if found else "unknown"


def _node_packages() -> Mapping[str, str]:
    lock = json.loads((WORKERS / "package-lock.json").read_text(encoding="utf-8"))
    return {name: lock["packages"][f"node_modules/{name}"]["version"] for name in ("bullmq", "undici")}


def _python_packages(python: str) -> Mapping[str, str]:
    wanted: Sequence[str] = ("arq", "dramatiq", "celery", "taskiq", "saq", "rq", "aiohttp", "requests")
    script = "import sys, json, importlib.metadata as m; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"
    if not Path(python).exists():
        # `--only` may leave all of them out.
        return dict.fromkeys(wanted, "not installed")
    done = subprocess.run([python, "-c", script, *wanted], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))
