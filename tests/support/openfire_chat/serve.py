"""Keeps a player of the Chat API running until Ctrl-C: `python -m tests.support.openfire_chat.serve`."""

import argparse

from tests.support.daemon import watch
from tests.support.openfire_chat.server import Openfire


def main() -> None:
    """Serves as the arguments say, and prints each request as it comes."""
    parser = argparse.ArgumentParser(description="Recorded answers of Openfire's Chat API, on loopback.")
    parser.add_argument("--port", type=int, default=7070)
    parser.add_argument("--heartbeat", type=float, default=10.0, help="seconds between two of an event stream")
    parser.add_argument("accounts", nargs="*", metavar="NAME", help="users, each with the password `secret`")
    given = parser.parse_args()
    server = Openfire(given.port, heartbeat_s=given.heartbeat)
    server.state.register(*given.accounts)
    words = f"It answers at {server.url}, to admin with the password secret and to the secret {server.secret}"
    watch(server, words, lambda: [request.line for request in server.requests])


if __name__ == "__main__":
    main()
