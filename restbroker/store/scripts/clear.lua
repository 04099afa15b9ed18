#!lua flags=allow-oom
-- Deletes some of the jobs that wait in a queue, the next to be taken first: those that were there when a person asked
-- for it, which are the newest job of that moment and all that lie behind it.
--
-- KEYS: the queue's list
-- ARGV: the newest job that is meant, how many at most, how many bytes of them are read at most (though one job always
--       is), then texts: the deleted jobs that have one of these are returned
-- Returns: {deleted, how many that are meant are left, {raw...}}; {0, 0, {}} once the newest one is gone: it would have
--          been taken last
-- Sent twice: the second deletes more of what is meant.

local CHUNK = 20
local list, newest, most, left_bytes = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local later = redis.call('LPOS', list, newest)
if not later then
  return {0, 0, {}}
end
local size = redis.call('LLEN', list)
local meant = size - later
local deleted, wanted, found = 0, math.min(meant, most), {}

local function is_wanted(raw)
  for i = 4, #ARGV do
    if string.find(raw, ARGV[i], 1, true) then
      return true
    end
  end
end

while deleted < wanted and left_bytes > 0 do
  local count = math.min(CHUNK, wanted - deleted)
  local raws = redis.call('LRANGE', list, size - deleted - count, size - deleted - 1)
  for i = #raws, 1, -1 do
    left_bytes = left_bytes - #raws[i]
    if is_wanted(raws[i]) then
      found[#found + 1] = raws[i]
    end
  end
  deleted = deleted + count
end
redis.call('LTRIM', list, 0, -deleted - 1)
return {deleted, meant - deleted, found}
