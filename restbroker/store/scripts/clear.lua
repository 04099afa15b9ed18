#!lua flags=allow-oom
-- Deletes some of the jobs that wait in a queue, those in its lines and then the next to be taken first: those that were
-- there when a person asked for it, which are the newest job of that moment and all that lie behind it. While that one is
-- in the list, no newer one can be in a line.
--
-- KEYS: the queue's list, its `pace`, its `wait`, its `keys`, its `turn` (see parts/lines.lua)
-- ARGV: the newest job that is meant ('': the list was empty, and only parts of lines are meant), how many at most, how
--       many bytes of them are read at most (though one job always is), a number of texts, and these: the deleted jobs
--       that have one of them are returned; then the parts of lines: a key, and the number before which its jobs are meant
-- Returns: {deleted, how many that are meant are left, {raw...}}; {0, 0, {}} once the newest one is gone: it would have
--          been taken last. Of parts of lines: how many are left, the first of these being the first to send again.
-- Sent twice: the second deletes more of what is meant.

local CHUNK, PACE_MS, LOOKS, MOST_MISSING, LARGEST = 20, 2000, 20000, 1000000, 9e15
local list, pace, wait, keys, turn = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local newest, most, left_bytes, texts = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local later = newest ~= '' and redis.call('LPOS', list, newest)
if newest ~= '' and not later then
  return {0, 0, {}}
end
local deleted, looks, found, has_ended_line = 0, 0, {}, false

local function note(raw)
  left_bytes = left_bytes - #raw
  for i = 5, 4 + texts do
    if string.find(raw, ARGV[i], 1, true) then
      found[#found + 1] = raw
      return
    end
  end
end

local has_lines = redis.call('HLEN', wait) > 0
redis.call('HLEN', keys)
if has_lines or redis.call('EXISTS', pace) == 1 then
  -- No process moves jobs of the list meanwhile: the newest that is meant is to stay there until the end.
  redis.call('SET', pace, 'clear', 'PX', PACE_MS)
end

-- Deletes the first jobs of a line, those before this number. Returns whether none is left of these.
local function clear_line(key, limit)
  local head, after = string.match(redis.call('HGET', keys, key) or '', '^(%d+) (%d+)$')
  head, after = tonumber(head or 0), tonumber(after or 0)
  if after >= LARGEST or after - head > redis.call('HLEN', wait) + MOST_MISSING then
    -- Someone wrote it by hand, and to walk through it would not end. What it hides is found again by its fields.
    head, after = 0, 0
  end
  local meant_till = math.min(after, limit)
  if head >= meant_till and head < after then
    return true
  end
  local till = math.min(meant_till, head + math.min(CHUNK, most - deleted))
  looks = looks + CHUNK
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
    has_ended_line = true
  end
  return till == meant_till
end

local function ended(left)
  if left == 0 then
    redis.call('DEL', pace)
  end
  return {deleted, left, found}
end

local function forget_empty()
  -- A key whose turn someone deleted by hand still waits: its virtual time stays.
  if has_ended_line and redis.call('ZCARD', turn) == 0 then
    redis.call('HDEL', keys, '\0v')
  end
end

if newest == '' then
  local at = 5 + texts
  while at < #ARGV and deleted < most and left_bytes > 0 and looks < LOOKS do
    if clear_line(ARGV[at], tonumber(ARGV[at + 1])) then
      at = at + 2
    end
  end
  forget_empty()
  return ended((#ARGV + 1 - at) / 2)
end

while has_lines and deleted < most and left_bytes > 0 and looks < LOOKS do
  local key = redis.call('ZRANGE', turn, 0, 0)[1]
  local records = key and {} or redis.call('HSCAN', keys, '0', 'COUNT', 10)[2]
  for i = 1, #records, 2 do
    -- Held behind a job in progress, put off or stopped (see parts/order.lua).
    if records[i] ~= '\0v' and (not key or records[i] < key) then
      key = records[i]
    end
  end
  if key then
    clear_line(key, math.huge)
  else
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
local meant = size - later
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
deleted = deleted + gone
return ended(redis.call('HLEN', wait) + meant - gone)
