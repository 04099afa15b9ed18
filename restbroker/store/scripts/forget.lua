#!lua flags=allow-oom
-- Removes notes on crashes of jobs that were settled, and says that there is news. A script, since a full Redis refuses
-- a plain INCR, and settling must go on there.
--
-- KEYS: recovered version, recovered (of each day that may still be there)
-- ARGV: fields
-- Returns: nothing
-- Sent twice: the second removes none, and tells of news all the same.

for n = 2, #KEYS do
  redis.call('HDEL', KEYS[n], unpack(ARGV))
end
redis.pcall('INCR', KEYS[1])
