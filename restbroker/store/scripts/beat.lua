#!lua flags=allow-oom
-- The heartbeats of identities. Never creates one: an identity that was fenced stays fenced.
--
-- KEYS: beats, then each identity's info
-- ARGV: of each identity, in the same order: its name, counter, snapshot (bytes for display, '' keeps the old one,
--       and its time)
-- Returns: of each, 1 alive or 0 fenced
-- Sent twice: the second changes nothing but the time of the last snapshot.

local names, beats, lives = {}, {}, {}
for n = 1, #KEYS - 1 do
  names[n] = ARGV[3 * n - 2]
end
for n, known in ipairs(redis.call('HMGET', KEYS[1], unpack(names))) do
  lives[n] = known and 1 or 0
  if known then
    beats[#beats + 1], beats[#beats + 2] = names[n], ARGV[3 * n - 1]
  end
end
if #beats > 0 then
  redis.call('HSET', KEYS[1], unpack(beats))
end
local now
for n = 1, #names do
  if lives[n] == 1 and ARGV[3 * n] ~= '' then
    now = now or redis.call('TIME')[1]
    -- For display only, so it must not cost the lease.
    redis.pcall('HSET', KEYS[n + 1], 'beat_at', now, 'snapshot', ARGV[3 * n])
  end
end
return lives
