#!lua flags=allow-oom
-- Creates an identity: the only script that does. An identity that is known in any form is never created again.
--
-- KEYS: beats, dying, info
-- ARGV: identity, then field and value of info, in pairs (attributes, index -> queue, "index:QUEUE" -> index)
-- Returns: 1 created, 0 exists already (also when this script is sent twice)

local id = ARGV[1]
if redis.call('HEXISTS', KEYS[1], id) == 1 or redis.call('HEXISTS', KEYS[2], id) == 1
    or redis.call('EXISTS', KEYS[3]) == 1 then
  return 0
end
-- Info first: an identity that sends heartbeats without it could not be recovered.
redis.call('HSET', KEYS[3], unpack(ARGV, 2))
redis.call('HSET', KEYS[1], id, 0)
return 1
