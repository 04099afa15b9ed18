"""Debian's Chromium without a window, driven by its own driver. Used by the fixtures beside it and by tests/house.

Always holds: nothing is downloaded; no name is looked up, so that nothing leaves the machine whatever a page asks for;
each start and each command ends within a bounded time; no process outlives the block, in whatever state it is.
"""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.chrome.webdriver import WebDriver

from tests.support.ports import free_port

LOAD_S: Final = 60
ELSEWHERE: Final = "192.0.2.1"
"""An address beyond loopback, as the browser believes; it leads to this machine."""
_ARGUMENTS: Final = (
    "--headless=new",
    "--no-sandbox",  # root has none
    "--disable-gpu",
    "--disable-dev-shm-usage",  # of which containers have little
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--window-size=1280,900",
)


@contextmanager
def chromium(directory: Path) -> Iterator[WebDriver]:
    """Starts it with a new profile in `directory`. It notes what pages complain of and what they ask for."""
    profile = directory / "profile"
    options = Options()
    options.binary_location = _program("chromium")
    for argument in (*_ARGUMENTS, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.add_experimental_option("perfLoggingPrefs", {"enableNetwork": True, "enablePage": False})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    directory.mkdir(exist_ok=True)
    log = directory / "chromedriver.log"
    service = Service(_program("chromedriver"), port=free_port(), log_output=str(log))
    try:
        driver = WebDriver(options, service)
        try:
            driver.set_page_load_timeout(LOAD_S)
            driver.set_script_timeout(LOAD_S)
            yield driver
        finally:
            driver.quit()
    finally:
        _end_all_of(profile)


def _program(name: str) -> str:
    found = shutil.which(name)
    assert found, f"{name} is not installed; `make test` installs it, or: sudo apt-get install chromium chromium-driver"
    return found


def _end_all_of(profile: Path) -> None:
    """Kills what its driver has left behind: whatever was started with this profile, which nobody else has."""
    mine = f"--user-data-dir={profile}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mine in (process / "cmdline").read_bytes():
                os.kill(int(process.name), signal.SIGKILL)
