-- A stand-in for mod_rest, which Debian packages from Prosody 13 on only: stanzas in over HTTP as JSON or XML, and out to
-- a web hook. Loaded by tests/support/prosody.py, in the VirtualHost for sending and as a component for the hook.
--
-- It is written from what the original was seen to do under Prosody 0.12.3 and 13.0.1, not from its code; where nothing
-- was seen, a comment says "assumed". Forms and plain text are a 415 here. An account that does not exist is left to
-- Prosody, which crashes over it (500) with the authentication internal_plain.

local base64 = require "util.encodings".base64;
local http = require "net.http";
local jid = require "util.jid";
local json = require "util.json";
local st = require "util.stanza";
local urldecode = require "util.http".urldecode;
local new_id = require "util.id".medium;
local xml = require "util.xml";
local usermanager = require "core.usermanager";
local mapped = module:require "stanza_json";
local tokens = module:depends "tokenauth"; -- on a component, too, where nothing else would load it

local host = module.host;
local hook_url = module:get_option_string("rest_callback_url");
local hook_type = module:get_option_string("rest_callback_content_type", "application/xmpp+xml");
local xml_type = "application/xmpp+xml";
local largest = 256 * 1024;
local iq_timeout_s, iq_timeout_most_s = 120, 300;

local function check_basic(coded)
	local user, password = (base64.decode(coded) or ""):match("^([^:]*):(.*)$");
	-- The local part only: a whole JID is refused.
	if not user or user:find("@", 1, true) then return nil; end
	if not usermanager.test_password(user, host, password) then return nil; end
	return jid.join(user, host);
end

local function check_bearer(token)
	local info = tokens.get_token_info(token);
	return info and jid.bare(info.jid);
end

-- Who asks, or nil and the status that says so.
local function authenticate(request)
	local given = request.headers.authorization;
	if not given then return nil, 401; end
	local way, secret = given:match("^(%S+)%s+(.*)$");
	local who = way == "Basic" and check_basic(secret) or way == "Bearer" and check_bearer(secret);
	if not who then return nil, 403; end
	return who;
end

-- The type of a body, or of the answer that is wanted, without its parameters.
local function type_in(header) return (header or ""):match("^[^;%s]*"); end

local function wants_xml(request) return type_in(request.headers.accept) == xml_type; end

local function refusal(request, status, kind, condition, text)
	if wants_xml(request) then
		local space = { xmlns = "urn:ietf:params:xml:ns:xmpp-streams" };
		local told = st.stanza("error", { xmlns = "http://etherx.jabber.org/streams" })
			:tag(condition, space):up():text_tag("text", text, space);
		return { status_code = status, headers = { content_type = xml_type }; body = tostring(told) };
	end
	local told = { source = "mod_rest", code = status, type = kind, condition = condition, text = text };
	return {
		status_code = status, headers = { content_type = "application/json" };
		body = json.encode({ type = "error", code = status, error = told });
	};
end

local function respond(response, stanza)
	local is_xml = wants_xml(response.request);
	response.headers.content_type = is_xml and xml_type or "application/json";
	response:send(is_xml and tostring(stanza) or json.encode(mapped.write(stanza)));
end

local function ask(iq, response, timeout_s)
	response.on_destroy = function () end; -- or an answer to a client that hung up would be written
	module:send_iq(iq, nil, math.min(timeout_s or iq_timeout_s, iq_timeout_most_s)):next(function (event)
		respond(response, event.stanza);
	end, function (problem)
		if problem.context and problem.context.stanza then
			respond(response, problem.context.stanza);
		else
			local told = refusal(response.request, 500, problem.type, problem.condition, "IQ stanza timed out");
			response.status_code, response.headers.content_type = told.status_code, told.headers.content_type;
			response:send(told.body);
		end
	end);
	return true;
end

-- Sends a message or presence; an error that comes at once is the answer, and 202 says that there was none.
local function deliver(stanza, response, who)
	if not jid.prep(stanza.attr.to) then return 202; end -- no recipient, or none that could be: silently
	local user = jid.split(who);
	local bounced;
	local origin = { type = "c2s", username = user, host = host, full_jid = stanza.attr.from, log = module._log };
	origin.send = function (reply)
		bounced = reply;
		return true;
	end;
	module:send(stanza, origin);
	if not bounced then return 202; end
	respond(response, bounced);
	return true;
end

local function send(stanza, event, who)
	stanza.attr.from = stanza.attr.from or who;
	if jid.bare(stanza.attr.from) ~= who then
		return refusal(event.request, 403, "auth", "not-authorized", "Not authorized to send stanza with requested 'from'");
	end
	if stanza.name ~= "iq" then return deliver(stanza, event.response, who); end
	if stanza.attr.type == "result" or stanza.attr.type == "error" then return 422; end -- assumed
	stanza.attr.to = stanza.attr.to or who; -- assumed
	return ask(stanza, event.response, tonumber(event.request.headers.prosody_rest_timeout));
end

local function refuse(response, status)
	if status == 403 then return refusal(response.request, 403, "auth", "not-authorized", "Credentials not accepted"); end
	response.headers.www_authenticate = 'Basic realm="'..host..'"';
	return refusal(response.request, 401, "auth", "not-authorized", "No credentials provided");
end

-- The stanza in a body; nil where it is none.
local function read_json(body)
	local document, problem = json.decode(body);
	return not problem and mapped.read(document) or nil;
end

local function read_xml(body)
	local stanza = xml.parse(body);
	if not stanza or not ({ message = true, presence = true, iq = true })[stanza.name] then return nil; end -- assumed
	if stanza.name == "iq" then stanza.attr.id = stanza.attr.id or new_id(); end
	return stanza;
end

local function handle_post(event)
	local request = event.request;
	local who, status = authenticate(request);
	if not who then return refuse(event.response, status); end
	local read = ({ ["application/json"] = read_json, [xml_type] = read_xml })[type_in(request.headers.content_type)];
	if not read then return 415; end
	if #request.body > largest then return 413; end
	local stanza = read(request.body);
	if not stanza then return 400; end
	return send(stanza, event, who);
end

local function handle_query(event, path)
	local who, status = authenticate(event.request);
	if not who then return refuse(event.response, status); end
	local what, to = path:match("^(%l+)/(.+)$");
	local stanza = what and mapped.read({ kind = "iq", type = "get", [what] = true, to = urldecode(to) });
	if not stanza then return 404; end
	return send(stanza, event, who);
end

module:depends("http");
module:provides("http", {
	route = {
		["POST"] = handle_post;
		["GET /*"] = handle_query;
	};
});

if not hook_url then return; end

-- What a status of the hook becomes for the sender; 0: nobody is there.
local refusals = setmetatable({ [0] = { type = "wait", condition = "recipient-unavailable" } }, {
	__index = require "net.http.errors".registry;
});

-- The stanza that the hook answered with, whatever its status; nil where it is none.
local function replied(stanza, body, asks)
	local reply = json.decode(body or "");
	if type(reply) ~= "table" then return nil; end
	if type(reply.error) == "table" then
		return st.error_reply(stanza, reply.error.type, reply.error.condition, reply.error.text);
	end
	return mapped.read({
		kind = reply.kind or stanza.name, type = reply.type or asks and "result" or stanza.attr.type,
		from = reply.from or stanza.attr.to, to = reply.to or stanza.attr.from, id = reply.id or stanza.attr.id,
		body = reply.body, subject = reply.subject,
	});
end

local function answer(stanza, origin, body, code, response)
	local asks = stanza.name == "iq";
	if stanza.attr.type == "error" or stanza.attr.type == "result" then return; end
	if code == 202 or code == 204 then
		if asks then origin.send(st.reply(stanza)); end
		return;
	end
	local headers = code ~= 0 and response and response.headers or {};
	local is_json = type_in(headers["content-type"]) == "application/json";
	local made = is_json and replied(stanza, body, asks);
	if made then return origin.send(made); end
	if code == 200 then
		if asks then origin.send(st.reply(stanza)); end -- assumed
		return;
	end
	origin.send(st.error_reply(stanza, refusals[code].type, refusals[code].condition));
end

local function call_hook(event)
	local stanza, origin = st.clone(event.stanza), event.origin; -- a room sends the same one on to its next occupant
	http.request(hook_url, {
		method = "POST";
		body = hook_type == "application/json" and json.encode(mapped.write(stanza)) or tostring(stanza);
		headers = { ["Content-Type"] = hook_type, ["Accept"] = "application/json, text/plain, */*" };
	}, function (body, code, response) answer(stanza, origin, body, code, response); end);
	return true;
end

for _, kind in ipairs({ "message", "presence", "iq" }) do
	for _, form in ipairs({ "bare", "full", "host" }) do
		module:hook(kind.."/"..form, call_hook, -1);
	end
end

-- Once at the start it looks whether the hook is there, and which type it takes (`Accept`).
http.request(hook_url, { method = "OPTIONS" }, function (_, code, response)
	hook_type = code == 200 and response.headers.accept or hook_type;
	module:log(code == 0 and "warn" or "info", "The hook answered OPTIONS with %d", code);
end);
