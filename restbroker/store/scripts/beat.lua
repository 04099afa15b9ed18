#!lua flags=allow-oom
-- The heartbeat. Never creates an identity: one that was fenced stays fenced.
--
-- KEYS: beats, info
-- ARGV: identity, counter, snapshot (bytes for display, '' keeps the old one)
-- Returns: 1 alive, 0 fenced
-- Sent twice: the second changes nothing but the time of the last heartbeat.

local id = ARGV[1]
if redis.call('HEXISTS', KEYS[1], id) == 0 then
  return 0
end
redis.call('HSET', KEYS[1], id, ARGV[2])
local now = redis.call('TIME')
-- For display only, so it must not cost the lease.
redis.pcall('HSET', KEYS[2], 'beat_at', now[1])
if ARGV[3] ~= '' then
  redis.pcall('HSET', KEYS[2], 'snapshot', ARGV[3])
end
return 1
