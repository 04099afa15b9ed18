-- A stand-in for mod_block_subscriptions, which Debian does not package: nobody subscribes by himself, since rosters
-- come from elsewhere. Written from its description; loaded by tests/support/prosody.py.

local subscribing = { subscribe = true, subscribed = true, unsubscribe = true, unsubscribed = true };

local function block(event)
	if subscribing[event.stanza.attr.type] then return true; end
end

for _, way in ipairs({ "pre-presence/bare", "pre-presence/full", "presence/bare", "presence/full" }) do
	module:hook(way, block, 100);
end
