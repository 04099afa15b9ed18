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
from collections.abc import Iterable
from pathlib import Path
from typing import Any

COLUMNS = ("user", "jid", "name", "groups")


def groups(cell: str) -> Any:
    """Return the names of groups in a cell."""
    return json.loads(cell) if cell.startswith("[") else [name.strip() for name in cell.split(";") if name.strip()]


def rosters_in(lines: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the contacts by user; raise `ValueError` for any other table, since a contact left out is one deleted."""
    found: dict[str, list[dict[str, Any]]] = {}
    reader = csv.reader(lines, strict=True)
    heading = tuple(next(reader, ()))
    if heading not in (COLUMNS[:2], COLUMNS[:3], COLUMNS):
        raise ValueError(f"the first line must be {','.join(COLUMNS)} (the last two may be missing)")
    for cells in filter(None, reader):
        row = {
            name: re.sub(r"^'(?='*\s*[=+\-@\t\r\n＝＋－＠])", "", cell)
            for name, cell in zip(heading, cells, strict=False)
        }
        if len(cells) != len(heading) or not row["user"] or (not row["jid"] and any(cells[2:])):
            raise ValueError(f"line {reader.line_num}: a cell is missing or too much")
        contacts = found.setdefault(row["user"], [])
        if row["jid"]:
            name = row.get("name") or None
            contacts.append({"jid": row["jid"], "name": name, "groups": groups(row.get("groups", ""))})
    return found


def main() -> None:
    """Write a line for each user, or none."""
    with Path(sys.argv[1]).open(encoding="utf-8-sig", newline="") as file:
        try:
            rosters = rosters_in(file)
        except (ValueError, csv.Error) as error:
            sys.exit(f"{sys.argv[1]}: {error}")
    for user, contacts in rosters.items():
        print(json.dumps({"user": user, "contacts": contacts}))


if __name__ == "__main__":
    main()
