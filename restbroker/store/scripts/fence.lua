#!lua flags=allow-oom
-- Takes an identity's rights away, if it still shows the counter that the caller saw for too long.
--
-- KEYS: beats, dying
-- ARGV: identity, counter seen
-- Returns: 1 fenced (now or before) | 0 it is alive, or not known
-- Sent twice: changes nothing.

local id = ARGV[1]
if redis.call('HEXISTS', KEYS[2], id) == 1 then
  return 1
end
if redis.call('HGET', KEYS[1], id) ~= ARGV[2] then
  return 0
end
-- Both in one script: an identity in neither hash would never be recovered.
redis.call('HDEL', KEYS[1], id)
redis.call('HSET', KEYS[2], id, ARGV[2])
return 1
