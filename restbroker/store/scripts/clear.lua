#!lua flags=allow-oom
-- Deletes some of the jobs that wait in a queue, those in its lines and then the next to be taken first: those that were
-- there when a person asked for it, which are the newest job of that moment and all that lie behind it. While that one is
-- in the list, no newer one can be in a line.
--
-- KEYS: the queue's list, its `pace`, its `wait`, its `keys`, its `turn` (see parts/lines.lua)
-- ARGV: the newest job that is meant ('': the list was empty, and only lines are meant), how many at most, how many bytes
--       of them are read at most (though one job always is), then texts: the deleted jobs that have one of these are
--       returned
-- Returns: {deleted, how many that are meant are left, {raw...}}; {0, 0, {}} once the newest one is gone: it would have
--          been taken last
-- Sent twice: the second deletes more of what is meant.

local CHUNK, PACE_MS = 20, 1000
local list, pace, wait, keys, turn = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local newest, most, left_bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local later = newest ~= '' and redis.call('LPOS', list, newest)
if newest ~= '' and not later then
  return {0, 0, {}}
end
local deleted, found = 0, {}

local function note(raw)
  left_bytes = left_bytes - #raw
  for i = 4, #ARGV do
    if string.find(raw, ARGV[i], 1, true) then
      found[#found + 1] = raw
      return
    end
  end
end

local has_lines = redis.call('HLEN', wait) > 0
redis.call('HLEN', keys)
if redis.call('ZCARD', turn) > 0 then
  -- No process moves jobs of the list meanwhile, but for what fetches look at.
  redis.call('SET', pace, 'clear', 'PX', PACE_MS)
end

-- Deletes the first jobs of the line whose turn is next. Returns false if there is none.
local function clear_line()
  local key = redis.call('ZRANGE', turn, 0, 0)[1]
  if not key then
    return false
  end
  local head, after = string.match(redis.call('HGET', keys, key) or '', '^(%d+) (%d+)$')
  head, after = tonumber(head or 0), tonumber(after or 0)
  local till = math.min(after, head + math.min(CHUNK, most - deleted))
  local fields = {}
  for number = head, till - 1 do
    fields[#fields + 1] = string.format('%.0f', number) .. ':' .. key
  end
  if #fields > 0 then
    for _, raw in ipairs(redis.call('HMGET', wait, unpack(fields))) do
      if raw then
        note(raw)
        deleted = deleted + 1
      end
    end
    redis.call('HDEL', wait, unpack(fields))
  end
  if till < after then
    redis.call('HSET', keys, key, string.format('%.0f %.0f', till, after))
  else
    redis.call('HDEL', keys, key)
    redis.call('ZREM', turn, key)
  end
  return true
end

while has_lines and deleted < most and left_bytes > 0 do
  if not clear_line() then
    -- What has no turn: someone deleted it by hand.
    deleted = deleted + redis.call('HLEN', wait)
    redis.call('DEL', wait)
    break
  end
end
if redis.call('HLEN', wait) == 0 then
  redis.call('DEL', keys, turn)
end

local size = redis.call('LLEN', list)
local meant = newest ~= '' and size - later or 0
local gone, wanted = 0, math.min(meant, most - deleted)
while gone < wanted and left_bytes > 0 do
  local count = math.min(CHUNK, wanted - gone)
  local raws = redis.call('LRANGE', list, size - gone - count, size - gone - 1)
  for i = #raws, 1, -1 do
    note(raws[i])
  end
  gone = gone + count
end
if gone > 0 then
  redis.call('LTRIM', list, 0, -gone - 1)
end
return {deleted + gone, redis.call('HLEN', wait) + meant - gone, found}
