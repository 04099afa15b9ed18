#!lua flags=no-writes
-- Reads one job of each of some lists, as far as the bytes allow.
--
-- KEYS: lists
-- ARGV: how many bytes, then for each list the place of the job in it: 0 is the newest, -1 the next to be taken
-- Returns: per list, in their order, the job's bytes | '' for what there is no room for | false if there is none, or the
--          key is no list that may be read
-- Sent twice: it only reads.

local left_bytes, found = tonumber(ARGV[1]), {}
for n, list in ipairs(KEYS) do
  local job = redis.pcall('LINDEX', list, ARGV[n + 1])
  found[n] = type(job) == 'string' and (#job <= left_bytes and job or '')
  left_bytes = left_bytes - (found[n] and #found[n] or 0)
end
return found
