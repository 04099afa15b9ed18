"""The alert rules in Prometheus' own test runner: which of them fire for given series. For tests of the night."""

import json
import shutil
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from dev.tools.pages import ROOT

RULES: Final = ROOT / "examples" / "prometheus-alerts.yml"


def assert_alerts(
    folder: Path, series: Mapping[str, str], fired: Mapping[str, Collection[str]], only: str = ""
) -> None:
    """Exactly these alerts fire at these moments. `series` has values for each minute, in promtool's words.

    `only`: further matchers of what is looked for.
    """
    promtool = shutil.which("promtool")
    assert promtool, "promtool is not installed; `make nightly` installs it, or: sudo apt-get install prometheus"
    expr = f'group by (alertname) (ALERTS{{alertstate="firing"{only}}})'
    asked = [
        {
            "expr": expr,
            "eval_time": at,
            "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in names],
        }
        for at, names in fired.items()
    ]
    given = [{"series": name, "values": values} for name, values in series.items()]
    test = {"interval": "1m", "input_series": given, "promql_expr_test": asked}
    file = folder / "rules.json"
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [test]}))
    done = subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}{series}"
