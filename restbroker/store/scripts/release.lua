#!lua flags=allow-oom
-- Gives up locks and claims of jobs that a person took away.
--
-- KEYS: locks and claims
-- ARGV: per key: the value that it has if it is that job's
-- Returns: per key 1 given up | 0 it is another's, or gone
-- Sent twice: the second answers 0.

local codes = {}
for n, key in ipairs(KEYS) do
  codes[n] = redis.pcall('GET', key) == ARGV[n] and redis.call('DEL', key) or 0
end
return codes
