"""Makes restbroker_VERSION_amd64.deb of a wheel and requirements/run.lock: `make deb` and `.ci/release` call it.

The package is a virtual environment with a folder of libraries for each Python of `PYTHONS`, and one for those that all
of these share, so that it works on when a Debian is upgraded to the next one. Always holds: each library is a wheel
whose hash is in the lock; it needs no root; two builds of a wheel are the same file, whoever makes them.
SOURCE_DATE_EPOCH is the time that all files in it have.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from email.message import Message
from email.parser import HeaderParser
from email.utils import formatdate
from gzip import GzipFile
from hashlib import md5
from pathlib import Path
from typing import Final
from zipfile import ZipFile

from packaging.requirements import Requirement

from dev.tools.pages import ROOT

PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
"""Of Debian 12, Ubuntu 24.04, Debian 13 and Ubuntu 26.04."""
_NOBODY: Final = "No maintainer named yet <nobody@example.org>"
_OURS: Final = ROOT / "contrib/debian"
_PLATFORMS: Final = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
_LINUX: Final = {"os_name": "posix", "sys_platform": "linux"}
_HOME: Final = "usr/lib/restbroker"
_SCRIPTS: Final = ("preinst", "postinst", "prerm", "postrm")
_PROGRAM: Final = f"""\
#!/{_HOME}/bin/python3
import sys

from restbroker.__main__ import main

sys.exit(main())
"""
_COMPLETIONS: Final = {
    "bash": "bash-completion/completions/restbroker",
    "zsh": "zsh/vendor-completions/_restbroker",
    "fish": "fish/vendor_completions.d/restbroker.fish",
}
_LIBRARIES: Final = """\
The package contains these libraries. Their licences are in the folders *.dist-info in /usr/lib/restbroker/lib; the
Apache License 2.0 is also in /usr/share/common-licenses/Apache-2.0.

"""


def build(wheel: Path, into: Path) -> Path:
    """Write the package of this wheel into the folder, and return its path."""
    with tempfile.TemporaryDirectory(prefix="restbroker-deb-") as name:
        tree = Path(name, "tree")
        _add_libraries(wheel, tree / _HOME, Path(name))
        _add_program(tree)
        about = _metadata(next((tree / _HOME / "lib/common").glob("restbroker-*.dist-info")))
        _add_documents(wheel, about, tree)
        _add_control(about, tree)
        _make_uniform(tree)
        package = into / f"restbroker_{_version(about)}_amd64.deb"
        subprocess.run(["dpkg-deb", "--root-owner-group", "-Zxz", "--build", tree, package], check=True, stdout=2)
    return package


def _add_libraries(wheel: Path, home: Path, work: Path) -> None:
    fetched = {python: _fetch(python, work / python) for python in PYTHONS}
    shared = set.intersection(*({path.name for path in wheels} for wheels in fetched.values()))
    common = home / "lib/common"
    _unpack(wheel, common)
    for python, wheels in fetched.items():
        site = home / f"lib/python{python}/site-packages"
        for path in wheels:
            _unpack(path, common if path.name in shared else site)
        _write(site / "common.pth", "../../common\n")


def _fetch(python: str, folder: Path) -> list[Path]:
    """Download the wheels that the lock names for this Python, whichever Python runs pip."""
    _write(folder / "lock", "\n".join(_locked(python)))
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps")
    platforms = [word for platform in _PLATFORMS for word in ("--platform", platform)]
    # --ignore-requires-python: pip compares it with the Python that runs pip.
    chosen = (*platforms, "--python-version", python, "--implementation", "cp", "--ignore-requires-python")
    strict = ("--only-binary", ":all:", "--require-hashes", "-r", str(folder / "lock"), "--dest", str(folder))
    if subprocess.run([*pip, *chosen, *strict], check=False, stdout=2).returncode:
        sys.exit(
            f"make deb: pip cannot download the libraries for Python {python}, as it says above. The package has those "
            f"for {', '.join(PYTHONS)}. Give pip a package index, or install by hand for one Python (docs/install.md)."
        )
    return sorted(folder.glob("*.whl"))


def _locked(python: str) -> Iterator[str]:
    """Return the lock's lines for this Python on Linux, without their conditions, which pip would judge by its own.

    A line for some patch releases counts for all: Debian 12 has 3.11.2, others a later one.
    """
    releases = [{**_LINUX, "python_version": python, "python_full_version": f"{python}.{patch}"} for patch in (0, 99)]
    for line in (ROOT / "requirements/run.lock").read_text("utf-8").replace("\\\n", "").splitlines():
        wanted, *hashes = re.split(r"\s+(?=--hash=)", line)
        if hashes:
            library = Requirement(wanted)
            if library.marker is None or any(library.marker.evaluate({**release}) for release in releases):
                yield f"{library.name}{library.specifier} {' '.join(hashes)}"


def _unpack(wheel: Path, into: Path) -> None:
    """Unpack all that is imported. pip would add scripts with the builder's path, and their digests to RECORD."""
    with ZipFile(wheel) as archive:
        archive.extractall(into, [name for name in archive.namelist() if ".data/" not in name])


def _add_program(tree: Path) -> None:
    """Add all that starts it: the environment, `restbroker` on the PATH, the unit, its user, completion."""
    home = tree / _HOME
    _write(home / "bin/restbroker", _PROGRAM)
    (home / "bin/python3").symlink_to("../../../bin/python3")
    _write(home / "pyvenv.cfg", "home = /usr/bin\ninclude-system-site-packages = false\n")
    (tree / "usr/bin").mkdir()
    (tree / "usr/bin/restbroker").symlink_to("../lib/restbroker/bin/restbroker")
    unit = (ROOT / "contrib/restbroker.service").read_text("utf-8")
    unit = unit[unit.index("[Unit]\n") :].replace("/usr/local/bin/restbroker", "/usr/bin/restbroker")
    _write(tree / "usr/lib/systemd/system/restbroker.service", unit)
    _write(tree / "usr/lib/sysusers.d/restbroker.conf", (_OURS / "sysusers").read_text("utf-8"))
    (tree / "etc/restbroker").mkdir(parents=True)
    for shell, place in _COMPLETIONS.items():
        script = home / f"lib/common/restbroker/cli/completion.{shell}"
        _write(tree / "usr/share" / place, script.read_text("utf-8"))


def _add_documents(wheel: Path, about: Message, tree: Path) -> None:
    with ZipFile(wheel) as archive:
        for name in archive.namelist():
            _, is_page, page = name.partition(".data/data/share/man/")
            if is_page:
                _write_packed(tree / f"usr/share/man/{page}.gz", archive.read(name))
    folder = tree / "usr/share/doc/restbroker"
    change = f"restbroker ({_version(about)}) stable; urgency=medium\n\n  * See CHANGELOG.md.\n\n"
    _write_packed(folder / "changelog.gz", f"{change} -- {_maintainer(about)}  {formatdate(_epoch())}\n".encode())
    _write_packed(folder / "CHANGELOG.md.gz", (ROOT / "CHANGELOG.md").read_bytes())
    _write(folder / "README.Debian", (_OURS / "README.Debian").read_text("utf-8"))
    _write(folder / "copyright", f"{(ROOT / 'LICENSE').read_text('utf-8')}\n{_licences(tree / _HOME / 'lib')}")
    shutil.copytree(ROOT / "contrib/restbroker.service.d", folder / "examples")
    shutil.copy(ROOT / "contrib/restbroker-ready.service", folder / "examples")
    _write(tree / "usr/share/lintian/overrides/restbroker", (_OURS / "lintian-overrides").read_text("utf-8"))


def _licences(libraries: Path) -> str:
    """Return a line for each library with its licence."""
    lines = set()
    for folder in libraries.glob("**/*.dist-info"):
        about = _metadata(folder)
        classes = [line.rpartition(" :: ")[2] for line in about.get_all("Classifier", ()) if line.startswith("License")]
        licence = about["License-Expression"] or ", ".join(classes) or (about["License"] or "").partition("\n")[0]
        if about["Name"] != "restbroker":
            lines.add(f"  {about['Name']} {about['Version']}: {licence}\n")
    return _LIBRARIES + "".join(sorted(lines))


def _add_control(about: Message, tree: Path) -> None:
    control = tree / "DEBIAN"
    files = sorted(path for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
    size_kib = sum(-(-path.stat().st_size // 1024) for path in files) + sum(path.is_dir() for path in tree.rglob("*"))
    homepages = [url.partition(", ")[2] for url in about.get_all("Project-URL", ()) if url.startswith("Homepage, ")]
    facts = {
        "version": _version(about),
        "maintainer": _maintainer(about),
        "homepage": "".join(f"Homepage: {url}\n" for url in homepages),
        "size_kib": size_kib,
        "lowest": PYTHONS[0],
        "beyond": f"3.{int(PYTHONS[-1].removeprefix('3.')) + 1}",
    }
    _write(control / "control", (_OURS / "control").read_text("utf-8").format_map(facts))
    digests = {path.relative_to(tree): md5(path.read_bytes(), usedforsecurity=False).hexdigest() for path in files}
    _write(control / "md5sums", "".join(f"{digest}  {path}\n" for path, digest in digests.items()))
    for name in ("triggers", *_SCRIPTS):
        _write(control / name, (_OURS / name).read_text("utf-8"))


def _make_uniform(tree: Path) -> None:
    """Give each file the same time, and a mode that does not depend on who builds."""
    programs = {tree / _HOME / "bin/restbroker", *(tree / "DEBIAN" / name for name in _SCRIPTS)}
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path in programs else 0o644)
        os.utime(path, (_epoch(), _epoch()), follow_symlinks=False)


def _metadata(folder: Path) -> Message:
    """Return the metadata of what was installed from a wheel."""
    return HeaderParser().parsestr((folder / "METADATA").read_text("utf-8"))


def _version(about: Message) -> str:
    """Return the version so that Debian sorts 0.2.0rc1 before 0.2.0."""
    return re.sub(r"\.?(a|b|rc|dev)(?=\d)", r"~\1", str(about["Version"]))


def _maintainer(about: Message) -> str:
    return str(about["Maintainer-email"] or _NOBODY)


def _epoch() -> int:
    return int(os.environ["SOURCE_DATE_EPOCH"])


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def _write_packed(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # gzip.compress writes another header in Python 3.13 than before.
    with path.open("wb") as file, GzipFile("", "wb", 9, file, mtime=0) as packed:
        packed.write(content)


if __name__ == "__main__":
    build(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
