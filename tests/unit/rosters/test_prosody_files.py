"""Rosters out of Prosody's own files: what Prosody writes is read, and nothing else is taken for it."""

from pathlib import Path

import pytest

from restbroker.rosters.prosody_files import parse, read
from restbroker.rosters.rules import BadRoster, Contact

# As util.datamanager of Debian's Prosody 0.12.3 wrote it.
WRITTEN = rb"""return {
	[false] = {
		["version"] = 7;
		["pending"] = {
			["eve@example.org"] = true;
		};
	};
	["ann@example.org"] = {
		["subscription"] = "both";
		["groups"] = {
			["Work"] = true;
			["a;b"] = true;
		};
		["name"] = "Ann \"the\" \\ \195\188 \226\152\130";
	};
	["bob@example.org"] = {
		["ask"] = "subscribe";
		["subscription"] = "none";
		["groups"] = {};
	};
};
"""


def test_what_prosody_wrote_is_read_without_those_whom_only_one_side_sees(tmp_path: Path) -> None:
    (tmp_path / "j%c3%b6rg%2eb.dat").write_bytes(WRITTEN)
    (tmp_path / "broken.dat").write_bytes(b"return os.exit()")
    (tmp_path / "other.list").write_bytes(b"")
    imported = read(tmp_path, "example.org", one_sided=False)
    ann = Contact('Ann "the" \\ ü ☂', ("Work", "a;b"))
    assert imported.contents.rosters == {"jörg.b": {"ann@example.org": ann}}
    assert imported.left_out == 1
    assert [one.user for one in imported.contents.refused] == ["broken"]
    imported = read(tmp_path, None, one_sided=True)
    assert imported.contents.rosters["jörg.b"].keys() == {"ann@example.org", "bob@example.org"}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"return nil",
        b"return {} x",
        b"x = {}",
        b'return {["a"] = f()}',
        b'return {["a"] = {["a"] = "b" .. "c"}}',
        b'return {["a"] = "\\300"}',
        b'return {["a"] = "\\255"}',
        b'return {["a"] = 1; ["a"] = 2}',
        b"return {[{}] = 1}",
        b"return " + b'{["a"] = ' * 50 + b"1" + b"}" * 50,
        b'return {["a"] = "open',
    ],
)
def test_what_is_no_plain_table_is_refused(raw: bytes) -> None:
    with pytest.raises(BadRoster):
        parse(raw)


def test_texts_numbers_and_lists_are_what_lua_makes_of_them() -> None:
    assert parse(b'return { "a\\065\\t", 2 }') == {1.0: "aA\t", 2.0: 2.0}
