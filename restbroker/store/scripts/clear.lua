#!lua flags=allow-oom
-- Deletes some of the jobs of a list, the next to be taken first: of a queue's, or of one of its keys'. Those are meant that
-- were there when a person asked for it: the newest job of that moment and all that lie behind it.
--
-- KEYS: the list, the queue's `pace`, its `turn`, its `line`, its target's `held` (see parts/keys.lua)
-- ARGV: '' for the queue's list, '=' and the key for that of a key, the newest job that is meant, how many at most, how
--       many bytes of them are read at most (though one job always is), then texts: the deleted jobs that have one of them
--       are returned
-- Returns: {deleted, how many that are meant are left, {raw...}}; {0, 0, {}} once the newest one is gone: it would have
--          been taken last
-- While a queue is cleared, no process moves jobs of its list into keys: the newest that is meant is to stay there.
-- Sent twice: the second deletes more of what is meant.

-- part: clock

-- part: keys

local CHUNK, PACE_MS = 20, 2000
local list, pace, ready_keys, key_queue, busy_keys = unpack(KEYS, 1, 5)
local key, newest, most, left_bytes = string.match(ARGV[1], '^=(.*)$'), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local later = redis.call('LPOS', list, newest)
if not later then
  if not key then
    redis.call('DEL', pace)
  end
  return {0, 0, {}}
end
redis.call('SET', pace, 'clear', 'PX', PACE_MS)
local found, size, deleted = {}, redis.call('LLEN', list), 0
local meant = size - later

local function note(raw)
  left_bytes = left_bytes - #raw
  for i = 5, #ARGV do
    if string.find(raw, ARGV[i], 1, true) then
      found[#found + 1] = raw
      return
    end
  end
end

while deleted < math.min(meant, most) and left_bytes > 0 do
  local count = math.min(CHUNK, meant - deleted, most - deleted)
  local raws = redis.call('LRANGE', list, size - deleted - count, size - deleted - 1)
  for i = #raws, 1, -1 do
    note(raws[i])
  end
  deleted = deleted + count
end
if deleted > 0 then
  redis.call('LTRIM', list, 0, -deleted - 1)
end
if key then
  count_taken({key_queue = key_queue, ready_keys = ready_keys}, busy_keys, key, list, deleted, deleted > 0)
elseif deleted == meant then
  redis.call('DEL', pace)
end
return {deleted, meant - deleted, found}
