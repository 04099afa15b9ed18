-- Posts to restbroker (a source of kind `webhook`) who comes into the rooms of this MUC component and who leaves, once:
-- docs/servers/webhook-details.md#prosodys-rooms

local http, json, jid = require "net.http", require "util.json", require "util.jid";
local url, secret = module:get_option_string("muc_events_url"), module:get_option_string("muc_events_secret");
local headers = { ["Content-Type"] = "application/json", Authorization = secret and "Bearer " .. secret };
local types = { ["room-created"] = "created", ["room-destroyed"] = "destroyed", ["occupant-joined"] = "joined", ["occupant-left"] = "left" };
for word, kind in pairs(types) do
	module:hook("muc-" .. word, function (event)
		local room, who = event.room.jid, event.occupant or event.creator;
		local body = json.encode { type = kind, room = room, from = who and who.jid, nick = who and jid.resource(who.nick) };
		http.request(url, { method = "POST", headers = headers, body = body }, function (_, code)
			if code ~= 202 then module:log("warn", "%s in %s is lost: %s answers %s", kind, room, url, code); end
		end);
	end);
end
