"""Keeps a stand-in for Openfire running until Ctrl-C: `python -m tests.support.openfire.serve`."""

import argparse
from typing import get_args

from tests.support.daemon import watch
from tests.support.openfire.forms import Dialect
from tests.support.openfire.server import Openfire


def main() -> None:
    """Serves as the arguments say, and prints each request as it comes."""
    parser = argparse.ArgumentParser(description="A stand-in for Openfire's REST API plugin and Chat API, on loopback.")
    parser.add_argument("--rest-port", type=int, default=9090)
    parser.add_argument("--chat-port", type=int, default=7070)
    parser.add_argument("--dialect", choices=get_args(Dialect), default="1.12")
    parser.add_argument("--auth", choices=("basic", "secret"), default="basic")
    parser.add_argument("--heartbeat", type=float, default=10.0, help="seconds between two of an event stream")
    parser.add_argument("accounts", nargs="*", metavar="NAME", help="users, each with the password `secret`")
    given = parser.parse_args()
    server = Openfire(given.dialect, given.auth, rest_port=given.rest_port, chat_port=given.chat_port)
    server.heartbeat_s = given.heartbeat
    server.world.register(*given.accounts)
    other = "" if given.auth == "basic" else f", there with the secret {server.rest_secret} alone"
    words = (
        f"Openfire's stand-in answers at {server.rest_url}{other}, and at {server.chat_url}, as admin with the password"
        f" secret or with the secret {server.chat_secret}"
    )
    watch(server, words, lambda: [asked.line for asked in server.asked])


if __name__ == "__main__":
    main()
