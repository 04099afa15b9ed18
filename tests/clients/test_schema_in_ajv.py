"""The JSON Schema of a job in ajv 8, the most used validator of Node, with its defaults and in its strict mode.

`make nightly` installs ajv with the packages of the clients. ajv takes seconds for a schema of ejabberd's size.
"""

import json
import subprocess
from pathlib import Path
from typing import Final

import pytest

from restbroker.job.json_types import Json
from tests.golden import commands
from tests.operate.test_job_schema import RIGHT, WRONG, job, validator_of

HERE: Final = Path(__file__).parent


@pytest.mark.nightly
@pytest.mark.parametrize("options", [{}, {"strict": True}], ids=["defaults", "strict"])
@pytest.mark.parametrize("name", commands.usual())
def test_ajv_takes_the_schema_and_judges_as_python_does(name: str, options: dict[str, Json]) -> None:
    assert (HERE / "node_modules" / "ajv").is_dir(), "ajv is not installed; `make nightly-servers` installs it"
    validator = validator_of(name)[0]
    jobs = [*RIGHT.values(), *WRONG.values(), *(job(command, []) for command in validator.schema["$defs"])]
    done = subprocess.run(
        ["node", str(HERE / "drive_ajv.cjs")],
        input=json.dumps({"schema": validator.schema, "jobs": jobs, "options": options}),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"said": [], "valid": [validator.is_valid(job) for job in jobs]}
