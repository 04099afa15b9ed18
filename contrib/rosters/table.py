#!/usr/bin/env python3
"""Write rosters in a CSV file to stdout as NDJSON, for `restbroker roster import FILE`.

The file is UTF-8, with commas, a contact a line after the line user,jid,name,groups (the last two may be missing).
Groups are separated by semicolons, or a JSON list. A user without contacts has a line without a JID. An apostrophe in
front of a cell that a spreadsheet would run as a formula is removed.
"""

import csv
import json
import re
import sys
from pathlib import Path
from typing import Any


def groups(cell: str) -> Any:
    """Return the names of groups in a cell."""
    return json.loads(cell) if cell.startswith("[") else [name.strip() for name in cell.split(";") if name.strip()]


def main() -> None:
    """Write a line for each user."""
    rosters: dict[str, list[dict[str, Any]]] = {}
    with Path(sys.argv[1]).open(encoding="utf-8-sig", newline="") as file:
        for cells in csv.DictReader(file, strict=True):
            row = {name: re.sub(r"^'(?='*\s*[=+\-@\t\r\n＝＋－＠])", "", cell or "") for name, cell in cells.items()}
            contacts = rosters.setdefault(row["user"], [])
            if row["jid"]:
                name = row.get("name") or None
                contacts.append({"jid": row["jid"], "name": name, "groups": groups(row.get("groups", ""))})
    for user, contacts in rosters.items():
        print(json.dumps({"user": user, "contacts": contacts}))


if __name__ == "__main__":
    main()
