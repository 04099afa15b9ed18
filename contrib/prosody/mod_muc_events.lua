-- Posts to restbroker (a source of kind `webhook`) who comes into the rooms of this MUC component and who leaves, once
-- and in order: docs/servers/webhook-details.md#prosodys-rooms

local http, json, jid = require "net.http", require "util.json", require "util.jid";
local url, secret = module:get_option_string("muc_events_url"), module:get_option_string("muc_events_secret");
local headers = { ["Content-Type"] = "application/json", Authorization = secret and "Bearer " .. secret };
local types = { ["room-created"] = "created", ["room-destroyed"] = "destroyed", ["occupant-joined"] = "joined", ["occupant-left"] = "left" };
local waiting, most = {}, 10000;
local function lost(event, why)
	module:log("warn", "%s in %s is lost: %s", event.type, event.room, why);
end
local function post_first()
	local event = waiting[1];
	http.request(url, { method = "POST", headers = headers, body = json.encode(event) }, function (_, code)
		if code ~= 202 then lost(event, ("%s answers %s"):format(url, code)); end
		table.remove(waiting, 1);
		if waiting[1] then post_first(); end
	end);
end
for word, kind in pairs(types) do
	module:hook("muc-" .. word, function (event)
		local who = event.occupant or event.creator;
		local told = { type = kind, room = event.room.jid, from = who and who.jid, nick = who and jid.resource(who.nick) };
		if #waiting >= most then return lost(told, ("%d others wait"):format(most)); end
		table.insert(waiting, told);
		if #waiting == 1 then post_first(); end
	end);
end
