-- Prosody's side of rosters, stanzas and events with restbroker: /etc/prosody/conf.d/restbroker.cfg.lua.
-- README.md beside this file says where the modules come from and how ROSTER-KEY and EVENTS-KEY are filled in.

-- The refresh endpoint asks no one for a password. It must not be reached from elsewhere.
http_interfaces = { "127.0.0.1" }
https_ports = {}

VirtualHost "example.org"
    -- Rosters are restbroker's: Prosody's own module would answer first, and what it keeps must not outlive a restart.
    modules_disabled = { "roster" }
    storage = { roster = "memory" }
    modules_enabled = {
        "http_roster_admin"; -- fetches rosters from restbroker, and again when restbroker says so
        "block_subscriptions"; -- no one adds contacts past restbroker
        "rest"; -- takes stanzas from restbroker at /rest
    }
    -- %s is the user. A percent sign anywhere else would have to be doubled, so there is none in the key.
    http_roster_url = "http://127.0.0.1:8082/roster/%s?key=ROSTER-KEY"

-- What is sent to this host, or to anybody at it, becomes a job for your application.
Component "bots.example.org" "rest"
    rest_callback_url = "http://prosody:EVENTS-KEY@127.0.0.1:8081/events/prosody"
    rest_callback_content_type = "application/json"
