#!lua flags=allow-oom
-- Removes notes on crashes of jobs that were settled, and says that there is news. A script, since a full Redis refuses
-- a plain INCR, and settling must go on there.
--
-- KEYS: recovered version, recovered (of each day that may still be there)
-- ARGV: fields
-- Returns: how many were removed
-- Sent twice: the second removes none, and tells of news all the same.

local gone = 0
for n = 2, #KEYS do
  gone = gone + redis.call('HDEL', KEYS[n], unpack(ARGV))
end
redis.pcall('INCR', KEYS[1])
return gone
