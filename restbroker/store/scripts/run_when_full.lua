#!lua flags=allow-oom
-- Runs some small commands in one step, also on a Redis that is full, which takes neither a MULTI nor a write: without
-- them nobody could make room there.
--
-- KEYS: the key of each command
-- ARGV: per command: how many words, its name, and what stands behind its key
-- Returns: what each command returns
-- Sent twice: as with the commands themselves.

local replies, at = {}, 1
for n, key in ipairs(KEYS) do
  local last = at + tonumber(ARGV[at])
  replies[n] = redis.call(ARGV[at + 1], key, unpack(ARGV, at + 2, last))
  at = last + 1
end
return replies
