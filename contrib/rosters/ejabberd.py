#!/usr/bin/env python3
"""Write the rosters of a running ejabberd to stdout as NDJSON, for `restbroker roster import FILE`.

It asks mod_http_api. If that wants a login, put it into the variable EJABBERD_LOGIN: admin@example.org:password.
"""

import argparse
import base64
import json
import os
import sys
import urllib.request
from typing import Any


def ask(url: str, command: str, **arguments: str) -> Any:
    """Return the answer to a command of ejabberd; raise OSError if it gives none."""
    login = base64.b64encode(os.environ.get("EJABBERD_LOGIN", "").encode()).decode()
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Basic {login}"} if login else {})
    request = urllib.request.Request(f"{url}/{command}", json.dumps(arguments).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def roster(entries: list[dict[str, Any]], *, one_sided: bool) -> dict[str, dict[str, Any]]:
    """Return {JID: contact} of the answer of get_roster; some versions repeat a contact for each group."""
    found: dict[str, dict[str, Any]] = {}
    for entry in entries:
        if one_sided or entry["subscription"] == "both":
            contact = found.setdefault(entry["jid"], {"name": entry.get("nick") or None, "groups": []})
            contact["groups"] += [group for group in entry.get("groups") or [entry.get("group")] if group]
    return found


def main() -> None:
    """Write a line for each user."""
    parser = argparse.ArgumentParser(description="Write the rosters of an ejabberd as NDJSON.")
    parser.add_argument("host", help="the virtual host: example.org")
    parser.add_argument("user", nargs="*", help="only these (default: all accounts)")
    parser.add_argument("--url", default="http://127.0.0.1:5280/api", help="of mod_http_api (default: %(default)s)")
    parser.add_argument("--one-sided", action="store_true", help="also contacts whose subscription is not both")
    options = parser.parse_args()
    left_out = 0
    for user in options.user or ask(options.url, "registered_users", host=options.host):
        # Who does not exist has no contacts either.
        if options.user and ask(options.url, "check_account", user=user, host=options.host) != 0:
            sys.exit(f"{user} has no account on {options.host}.")
        entries = ask(options.url, "get_roster", user=user, host=options.host)
        contacts = roster(entries, one_sided=options.one_sided)
        left_out += len({entry["jid"] for entry in entries} - set(contacts))
        print(json.dumps({"user": user, "contacts": contacts}))
    if left_out:
        print(f"{left_out} contacts left out, whose subscription is not both; see --one-sided.", file=sys.stderr)


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.exit(f"ejabberd gives no answer: {error}")
