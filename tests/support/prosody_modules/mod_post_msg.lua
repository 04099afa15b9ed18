-- A stand-in for mod_post_msg, which Debian does not package: messages in over HTTP, at /msg/JID. Loaded by
-- tests/support/prosody.py. Written from what the original was seen to do under Prosody 0.12.3 and 13.0.1, not from its
-- code; where nothing was seen, a comment says "assumed".

local base64 = require "util.encodings".base64;
local formdecode = require "util.http".formdecode;
local jid = require "util.jid";
local json = require "util.json";
local st = require "util.stanza";
local usermanager = require "core.usermanager";

local function read_text(body) return { body = body }; end

local readers = { -- compared as it is: even a charset makes it another type, which is a 415
	["text/plain"] = read_text;
	["application/x-www-form-urlencoded"] = function (body)
		local form = formdecode(body);
		return type(form) == "table" and form or nil;
	end;
	["application/json"] = function (body)
		local document = json.decode(body);
		return type(document) == "table" and document ~= json.null and document or nil;
	end;
};

local function handle(event, path)
	local request = event.request;
	local way, coded = (request.headers.authorization or ""):match("^(%S+)%s+(.*)$");
	if way ~= "Basic" then return 401; end
	local account, password = (base64.decode(coded) or ""):match("^([^:]*):(.*)$");
	local user, domain = jid.split(account);
	-- A bare local part, and what is no base64, make the original fail with a traceback; and Prosody fails by itself over a
	-- host that it does not serve, and with internal_plain over an account that does not exist.
	if not user then return 500; end
	if not usermanager.test_password(user, domain, password) then return 401; end
	local read = readers[request.headers.content_type or "text/plain"];
	if not read then return 415; end
	local message = read(request.body or "");
	if not message then return 400; end
	local to = jid.prep(path ~= "" and path or message.to);
	if not to then return 422; end
	local stanza = st.message({ to = to, from = account, type = message.type or "chat" }, message.body); -- type assumed
	if message.subject then stanza:text_tag("subject", message.subject); end
	module:send(stanza);
	return 201;
end

module:depends("http");
module:provides("http", {
	default_path = "/msg";
	route = { ["POST /*"] = handle };
});
