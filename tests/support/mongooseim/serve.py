"""Keeps a stand-in for MongooseIM running until Ctrl-C: `python -m tests.support.mongooseim.serve`."""

import argparse
from typing import get_args

from tests.support.daemon import watch
from tests.support.mongooseim.execution import Endpoint
from tests.support.mongooseim.server import MongooseIM
from tests.support.mongooseim.world import Domain


def main() -> None:
    """Serves as the arguments say, and prints each operation as it is asked for."""
    parser = argparse.ArgumentParser(description="A stand-in for MongooseIM's GraphQL API, on loopback.")
    parser.add_argument("--port", type=int, default=5551)
    parser.add_argument("--endpoint", choices=get_args(Endpoint), default="admin")
    parser.add_argument("--user", default="admin")
    parser.add_argument("--password", default="secret", help="empty: everybody is an administrator")
    parser.add_argument("--host", default="localhost", help="the name that it answers to, or _ for any")
    parser.add_argument("--domain", action="append", default=[], help="served beside localhost")
    parser.add_argument("accounts", nargs="*", metavar="JID", help="accounts, each with the password `secret`")
    given = parser.parse_args()
    server = MongooseIM(given.endpoint, given.user, given.password, given.host, given.port)
    server.world.domains.update({domain: Domain() for domain in given.domain})
    server.world.register(*given.accounts)
    watch(server, f"MongooseIM's stand-in answers at {server.url}", lambda: server.operations)


if __name__ == "__main__":
    main()
