#!lua flags=allow-oom
-- Moves jobs of groups back to the head of their paused queue's list: before another version, or after someone deleted parts
-- of groups by hand. Jobs in progress stay, and so do stopped groups. Jobs of one group keep their order.
--
-- KEYS: paused, the queue's list, its `turn`, its `line`, its `fair`, the target's `held` (see parts/groups.lua), the
--       queue's hand
-- ARGV: the queue's name, how many jobs at most, how many bytes, groups
-- Returns: {moved, how many of these groups are done with}; {-1, 0}: the queue is not paused, and nothing was moved
-- Sent twice: the second moves more.

local CHUNK, STOPPED, IN_PROGRESS = 20, 1e12, 2e12
local list, turn, line, fair, held = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local most, left_bytes, moved, ended = tonumber(ARGV[2]), tonumber(ARGV[3]), 0, 0
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then
  return {-1, 0}
end
-- part: hand

-- These reads also surface a wrong type before the first write.
redis.call('LLEN', list)
redis.call('ZCARD', turn)
redis.call('ZCARD', held)
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
  local group = ARGV[n]
  local score = tonumber(redis.call('ZSCORE', held, group) or '0')
  if score < STOPPED or score >= IN_PROGRESS then
    if not move(line .. '\30' .. group) then
      break
    end
    redis.call('ZREM', turn, group)
    if score < STOPPED then
      -- The job that was put off may wait in another queue: the next fetch lets all of the group go on.
      redis.call('ZADD', held, 'XX', '0', group)
    end
  end
  ended = ended + 1
end
-- Fewer than were allowed: there are no others.
if ended == #ARGV - 3 and ended < most and redis.call('ZCOUNT', held, STOPPED, '(2e12') == 0
    or moved > 0 and (tonumber(redis.pcall('INCRBY', line, -moved)) or 0) <= 0 then
  redis.call('DEL', line)
end
if redis.call('ZCARD', turn) == 0 then
  redis.call('DEL', fair)
end
return {moved, ended}
