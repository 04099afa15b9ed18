#!lua flags=allow-oom
-- Moves jobs of keys back to the head of their paused queue's list: before another version, or after someone deleted parts
-- of keys by hand. Jobs in progress stay, and so do stopped keys. Jobs of one key keep their order.
--
-- KEYS: paused, the queue's list, its `turn`, its `line`, its `fair`, the target's `held` (see parts/keys.lua), the
--       queue's hand
-- ARGV: the queue's name, how many jobs at most, how many bytes, keys
-- Returns: {moved, how many of these keys are done with}; {-1, 0}: the queue is not paused, and nothing was moved
-- Sent twice: the second moves more.

local CHUNK = 20
local list, ready_keys, key_queue, fair, busy_keys = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local most, left_bytes, moved, ended = tonumber(ARGV[2]), tonumber(ARGV[3]), 0, 0
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then
  return {-1, 0}
end
-- part: hand

-- part: states

-- These reads also surface a wrong type before the first write.
redis.call('LLEN', list)
redis.call('ZCARD', ready_keys)
redis.call('ZCARD', busy_keys)
empty_hands(6, 1, 1)

-- Moves jobs of one list; the last first, so that the first is taken first. Returns whether all are moved.
local function move(name)
  while moved < most and left_bytes > 0 do
    local raws = redis.pcall('LPOP', name, math.min(CHUNK, most - moved))
    if not raws or raws.err then
      break
    end
    redis.call('RPUSH', list, unpack(raws))
    moved = moved + #raws
    for _, raw in ipairs(raws) do
      left_bytes = left_bytes - #raw
    end
  end
  return redis.call('EXISTS', name) == 0
end

for n = 4, #ARGV do
  local key = ARGV[n]
  local score = tonumber(redis.call('ZSCORE', busy_keys, key) or '0')
  if score < STOPPED or score >= IN_PROGRESS then
    if not move(key_queue .. '\30' .. key) then
      break
    end
    redis.call('ZREM', ready_keys, key)
    if score < STOPPED then
      -- The job that was put off may wait in another queue: the next fetch lets all of the key go on.
      redis.call('ZADD', busy_keys, 'XX', '0', key)
    end
  end
  ended = ended + 1
end
-- Fewer than were allowed: there are no others.
if ended == #ARGV - 3 and ended < most and redis.call('ZCOUNT', busy_keys, STOPPED, '(' .. IN_PROGRESS) == 0
    or moved > 0 and (tonumber(redis.pcall('INCRBY', key_queue, -moved)) or 0) <= 0 then
  redis.call('DEL', key_queue)
end
if redis.call('ZCARD', ready_keys) == 0 then
  redis.call('DEL', fair)
end
return {moved, ended}
