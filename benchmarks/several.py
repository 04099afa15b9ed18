"""Runs a command several times at once: `python -m benchmarks.several 4 COMMAND …`; SIGTERM ends all of them."""

import signal
import subprocess
import sys


def main() -> None:
    """Waits for all of them."""
    children = [subprocess.Popen(sys.argv[2:]) for _ in range(int(sys.argv[1]))]

    def end(*_: object) -> None:
        for child in children:
            child.terminate()

    signal.signal(signal.SIGTERM, end)
    for child in children:
        child.wait()


if __name__ == "__main__":
    main()
