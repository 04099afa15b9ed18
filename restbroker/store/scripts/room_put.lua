#!lua flags=allow-oom
-- Ends a lock on having a user join or leave a room, with what came of it, if it is still the holder's.
-- Without a holder: notes who was made to leave it, no matter who has the lock.
--
-- KEYS: room
-- ARGV: user ('' everybody), holder (or ''), 'in' | 'out' | '' (not known), mark of their login ('*' any), kept for
--       (ms)
-- Returns: 1 that is known of them now | 0 nothing changed
-- Sent twice: the second changes nothing.

local known = redis.call('HGET', KEYS[1], ARGV[1])
if ARGV[2] ~= '' and string.match(known or '', '^turn (%S+) %d+$') ~= ARGV[2] then
  return known == ARGV[3] .. ' ' .. ARGV[4] and 1 or 0
end
if ARGV[1] == '' then
  redis.call('DEL', KEYS[1])
end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
  return 1
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3] .. ' ' .. ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return 1
