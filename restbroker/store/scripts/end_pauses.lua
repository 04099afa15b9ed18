#!lua flags=allow-oom
-- Ends the noted pauses whose time is over, by Redis' own clock.
--
-- KEYS: paused, notes on queues, notes on targets, notes on periodic commands
-- ARGV: none
-- Returns: {{queue, note}...}, {{target, note}...}, {{periodic command, note}...}: those that ended with this call
-- Of a target and a periodic command, a pause ends by itself; here its note goes. A note on a queue that someone resumed goes without a word.
-- Sent twice: the second finds nothing.

-- part: clock

local now_us = clock_us()

local function ended(notes, still_paused)
  local found, flat = {}, redis.call('HGETALL', notes)
  for i = 1, #flat, 2 do
    local name, note = flat[i], flat[i + 1]
    local until_us = tonumber(string.match(note, '^%d+ (%d+) ') or '0')
    if not still_paused(name) then
      redis.call('HDEL', notes, name)
    elseif until_us ~= 0 and until_us <= now_us then
      redis.call('HDEL', notes, name)
      found[#found + 1] = {name, note}
    end
  end
  return found
end

local queues = ended(KEYS[2], function(name)
  return redis.call('SISMEMBER', KEYS[1], name) == 1
end)
for _, one in ipairs(queues) do
  redis.call('SREM', KEYS[1], one[1])
end
local function always()
  return true
end
return {queues, ended(KEYS[3], always), ended(KEYS[4], always)}
