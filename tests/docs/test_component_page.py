"""What the page of the component says to paste on both sides fits together; nightly/test_ejabberd_pages pastes it."""

import json
from pathlib import Path
from typing import Final

import yaml

from dev.tools.pages import ROOT, blocks
from restbroker.config.load import load
from restbroker.events import registry as sources
from restbroker.servers import registry
from restbroker.servers.component.options import Options

SET_UP, EVENTS = (ROOT / "docs" / "servers" / f"{name}.md" for name in ("ejabberd", "ejabberd-events"))
SECRET: Final = "A SECRET"


def test_the_listener_of_the_page_lets_in_the_component_of_the_page(tmp_path: Path) -> None:
    for name in ("token", "ejabberd", "component"):
        (tmp_path / name).write_text(SECRET)
    document = {key: value for page in (SET_UP, EVENTS) for key, value in json.loads(blocks(page, "json")[0]).items()}
    env = tmp_path / "env.json"
    env.write_text(json.dumps(document).replace("/etc/restbroker/", f"{tmp_path}/"))
    config = load(env, {}, {}, registry.kinds(), sources.kinds()).config
    assert config.events is not None
    [source], [target] = config.events.sources, config.targets
    options = source.options
    assert isinstance(options, Options)
    server = yaml.safe_load(blocks(EVENTS, "yaml")[0])
    [listener] = server["listen"]
    assert options.address == (listener["ip"], listener["port"])
    assert listener["hosts"] == {options.name: {"password": options.password.reveal()}}
    assert server["modules"]["mod_service_log"] == {"loggers": [options.name]}
    assert source.target_name == target.name
