"""`restbroker ctl` beside `ejabberdctl`, on one ejabberd: the same script, with one word changed."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs
import pytest

from restbroker.store import sets
from restbroker.store.client import Client, StoreSettings, open_client
from tests.support import ejabberdctl
from tests.support.ejabberdctl import Node
from tests.support.process import Running, clean_environment, started
from tests.support.redis_server import RedisServer, redis_binary

_SCRIPT: Final = r"""
# Accounts, and what is wrong with some of them.
ejabberdctl register alice localhost secret
ejabberdctl register alice localhost secret
ejabberdctl register "a b" localhost secret
ejabberdctl register bob nowhere.example secret
ejabberdctl register carl localhost ""
ejabberdctl register ünï localhost 'geh""eim \ ☂'
ejabberdctl register --help localhost secret
ejabberdctl check_account alice localhost
ejabberdctl check-account alice localhost && echo and on
ejabberdctl check_account nobody localhost || echo or not
ejabberdctl check_password ünï localhost 'geh""eim \ ☂'
ejabberdctl check_password alice localhost wrong
ejabberdctl change_password alice localhost new
ejabberdctl change_password nobody localhost new
ejabberdctl change_password alice localhost ""
ejabberdctl registered_vhosts
ejabberdctl registered_users localhost
ejabberdctl registered_users nowhere.example
for user in $(ejabberdctl registered_users localhost); do echo "there is $user"; done

# Numbers, texts, words, tuples, lists and nothing.
ejabberdctl connected_users_number
ejabberdctl connected_users
ejabberdctl user_sessions_info alice localhost
ejabberdctl stats registeredusers
ejabberdctl stats_host registeredusers localhost
ejabberdctl get_presence alice localhost
ejabberdctl get_loglevel
ejabberdctl incoming_s2s_number
ejabberdctl set_last alice localhost 1500045311 "gone	for ☂"
ejabberdctl get_last alice localhost
ejabberdctl get_offline_count alice localhost
ejabberdctl kick_user alice localhost
ejabberdctl status
ejabberdctl started
ejabberdctl abort_delete_old_messages localhost
ejabberdctl delete_old_users 3650
ejabberdctl list_cluster
ejabberdctl modules_installed
ejabberdctl restart_module localhost mod_nothing

# Rosters, vCards and what is private.
ejabberdctl add_rosteritem alice localhost bob localhost Bob Friends both
ejabberdctl add_rosteritem alice localhost carl localhost "" "" from
ejabberdctl get_roster alice localhost | sort
ejabberdctl delete_rosteritem alice localhost bob localhost
ejabberdctl set_vcard alice localhost FN "Älice A"
ejabberdctl get_vcard alice localhost FN
ejabberdctl get_vcard nobody localhost FN
ejabberdctl get_vcard2 alice localhost N FAMILY
ejabberdctl set_vcard2_multi alice localhost ORG ORGUNIT '["A","B"]'
ejabberdctl get_vcard2_multi alice localhost ORG ORGUNIT
ejabberdctl private_set alice localhost '<a xmlns="b"/>'
ejabberdctl private_get alice localhost a b

# Groups.
ejabberdctl srg_create group localhost Group "A group" 'one\ntwo'
ejabberdctl srg_list localhost
ejabberdctl srg_get_info group localhost
ejabberdctl srg_user_add alice localhost group localhost
ejabberdctl srg_get_members group localhost
ejabberdctl srg_delete group localhost

# Rooms.
ejabberdctl create_room room conference.localhost localhost
ejabberdctl create_room room conference.localhost localhost
ejabberdctl create_room room nowhere.example localhost
ejabberdctl create_room_with_opts other conference.localhost localhost '[{"name":"members_only","value":"true"}]'
ejabberdctl get_room_options other conference.localhost
ejabberdctl muc_online_rooms conference.localhost
ejabberdctl muc_online_rooms_by_regex conference.localhost room
ejabberdctl set_room_affiliation room conference.localhost alice@localhost owner
ejabberdctl set_room_affiliation room conference.localhost alice@localhost nonsense
ejabberdctl get_room_affiliations room conference.localhost
ejabberdctl get_room_affiliation room conference.localhost alice@localhost
ejabberdctl get_room_occupants nothing conference.localhost
ejabberdctl change_room_option nothing conference.localhost title Hello
ejabberdctl change_room_option other conference.localhost title "Hello there"
ejabberdctl subscribe_room alice@localhost nick nothing@conference.localhost urn:xmpp:mucsub:nodes:messages
ejabberdctl send_direct_invitation nothing conference.localhost none none alice@localhost
ejabberdctl destroy_room room conference.localhost
ejabberdctl destroy_room room conference.localhost
ejabberdctl destroy_room other conference.localhost

# Messages, what is unknown, and what is miscounted.
ejabberdctl send_message chat admin@localhost alice@localhost Hi "How are you"
ejabberdctl send_message chat @@ alice@localhost Hi "How are you"
ejabberdctl send_stanza_c2s alice localhost nowhere '<message/>'
ejabberdctl get_mam_count alice localhost
ejabberdctl regster alice
ejabberdctl nonsense
ejabberdctl --no-timeout connected_users_number
ejabberdctl --version 0 connected_users_number
ejabberdctl --version x connected_users_number

ejabberdctl unregister alice localhost
ejabberdctl unregister ünï localhost
ejabberdctl unregister --help localhost
ejabberdctl unregister alice nowhere.example
"""


@attrs.frozen
class Scene:
    """An ejabberd that ejabberdctl started, a broker for it, and a folder in which both programs are found."""

    node: Node
    place: Path
    store: Client

    def output(self, script: str) -> Sequence[str]:
        """What the script prints, and after each command what that ended with."""
        told = 'trap \'printf "[%s]\\n" "$?"\' DEBUG\n'
        environ = clean_environment({"PATH": f"{self.place}:{self.node.programs}:{os.environ['PATH']}"})
        done = subprocess.run(
            ["bash", "-c", told + script], cwd=self.place, env=environ, capture_output=True, text=True, check=False
        )
        return [*done.stdout.splitlines(), *(f"stderr: {line}" for line in done.stderr.splitlines())]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    node = ejabberdctl.start(tmp_path_factory.mktemp("node"))
    place = tmp_path_factory.mktemp("broker")
    redis = RedisServer(redis_binary(), tmp_path_factory.mktemp("redis")).start()
    document = {
        "RedisURL": redis.url,
        "RestURL": node.server.url,
        "RestUser": node.server.admin,
        "RestPass": node.server.password,
        "RestQueue": "rest",
        "Tokens": {"scripts": {"Secret": "a-token-of-scripts", "Allow": ["*", "dangerous:*"]}},
    }
    (place / "env.json").write_text(json.dumps(document))
    program = place / "restbroker"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m restbroker "$@"\n')
    program.chmod(0o755)
    try:
        with started(["run"], directory=place) as broker:
            _ready(broker)
            yield Scene(node, place, open_client(StoreSettings(redis.url)))
    finally:
        redis.close()
        node.server.kill()


def _ready(broker: Running) -> None:
    broker.wait_for("taking jobs|takes jobs|started|ready")


def test_a_script_of_ejabberdctl_does_the_same_when_one_word_is_changed(scene: Scene) -> None:
    assert _SCRIPT.count("\nejabberdctl") >= 20
    theirs = scene.output(_SCRIPT)
    ours = scene.output(_SCRIPT.replace("ejabberdctl", "restbroker ctl"))
    assert "\n".join(ours) == "\n".join(theirs)
    assert sets.size(scene.store, "dead") == 0
