-- Prosody's side of a bot: /etc/prosody/conf.d/bots.cfg.lua. README.md beside this file says how EVENTS-KEY is filled in.

-- Only this machine reaches mod_rest.
http_interfaces = { "127.0.0.1" }
https_ports = {}

VirtualHost "example.org"

Component "rooms.example.org" "muc"
    -- Without this a room is gone with its last occupant: with the bot, if it was alone.
    muc_room_default_persistent = true
    -- Without this no one may enter a room that the bot has made, until somebody configures it. Not even the bot.
    muc_room_locking = false

-- Takes stanzas from restbroker at /rest, and brings it what is sent to this host, or to anybody at it.
Component "bots.example.org" "rest"
    rest_callback_url = "http://prosody:EVENTS-KEY@127.0.0.1:8081/events/bots"
    rest_callback_content_type = "application/json"
