"""Files with one job in each row: CSV with a line that names its columns, or NDJSON. `enqueue --bulk` reads them.

Always holds: however long the file or a line of it is, little of it is in memory; each row has its number, even after
bad rows; a row that cannot be read is a `Bad` row with the line in which it begins and its exact text.
"""

import json
import re

from restbroker.bulk import csv as bulk_csv
from restbroker.bulk import ndjson as bulk_ndjson
from restbroker.bulk.read import BOM, ENDS, ERROR, LONGEST, Bad, BadFile, Lines, Source, Table, TooLong
from restbroker.job import rubyjson


def open_table(source: Source) -> Table:
    """Return the table in a file of CSV, or of NDJSON if it begins with `{`.

    Raise `BadFile` if it can be neither; its rows raise it too, while they are read.
    """
    lines = Lines(source)
    try:
        first = next((line for line in lines if line.strip(BOM + " \t\r\n")), "")
    except TooLong:
        raise BadFile("begins with a line of more than 1 MiB", "Give CSV, or one JSON object in each line.") from None
    mark = BOM if lines.row_lines[:1] and lines.row_lines[0].startswith(BOM) else ""
    first = first.removeprefix(BOM)
    if first.startswith(("\udcff\udcfe", "\udcfe\udcff")) or "\0" in first:
        raise BadFile("is UTF-16 or not text", "Save it as UTF-8 (in a spreadsheet: CSV UTF-8).")
    if not first:
        raise BadFile("is empty", "Give CSV, whose first line names the columns, or one JSON object in each line.")
    match first.lstrip()[0]:
        case "{":
            lines.row_lines[:] = [first]
            return Table("ndjson", (), "", opening=mark, rows=bulk_ndjson.rows_of(lines))
        case "[":
            raise BadFile("is a JSON list", "Write one object in each line: jq -c '.[]' FILE")
        case _:
            return bulk_csv.table_of(first, lines, mark)


def reject_text(table: Table, bad: Bad) -> str:
    """Return the text of a bad row for the rejects file, in a form that can be corrected and read again."""
    if bad.more:
        return f"{table.separator}{bad.text}" if bad.is_open else bad.text
    why = f"line {bad.line}: {bad.why}"
    text = bad.text if bad.text.endswith(ENDS) or len(bad.text) >= LONGEST else f"{bad.text}\n"
    if table.form == "csv":
        cell = why.replace('"', '""')
        if bad.is_open:  # Once it is closed, the lines behind it are rows with an empty cell there.
            text = re.sub("(?<=\n)(?=.)", table.separator, text)
        elif not table.is_rejects:
            text = bulk_csv.guarded_row(text, table.separator)
        return f'"{cell}"{table.separator}{text}'
    document = rubyjson.object_of(text.encode("utf-8", "surrogateescape"))
    if not document or bulk_ndjson.has_duplicate_name(text):  # What cannot be read, or would lose something.
        return f"{json.dumps({ERROR: why}, ensure_ascii=False)}\n{text}"
    document.pop(ERROR, None)
    return rubyjson.dumps({**document, ERROR: why}).decode() + "\n"
