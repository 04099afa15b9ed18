#!lua flags=allow-oom
-- Whether a user is in a room by their present login, or the lock on having them join or leave it, one at a time.
-- A full Redis grants it too: the jobs that drain it may need it.
--
-- KEYS: room
-- ARGV: user, mark of their login, holder, lease (ms), 'look' | 'need' | 'again', kept for (ms), most users of a room
-- Returns: {'IN'} | to a look {'OUT'} or {'UNKNOWN'} | {'YOURS'}: join or leave, then put | {'BUSY', ms}: another does
-- A look takes no lock; 'again' takes it also where they are in the room.
-- Sent twice: the second says the same, and the lock begins again.

-- part: clock

local now_ms = math.floor(clock_us() / 1000)
local known = redis.call('HGET', KEYS[1], ARGV[1])
local said = known or redis.call('HGET', KEYS[1], '') or ''
local state, whose, until_ms = string.match(said, '^(%a+) (%S+) ?(%d*)$')
if state == 'turn' and whose ~= ARGV[3] and tonumber(until_ms) and tonumber(until_ms) > now_ms then
  return {'BUSY', tonumber(until_ms) - now_ms}
end
local is_known = (state == 'in' or state == 'out') and (whose == ARGV[2] or whose == '*')
if is_known then
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
end
if is_known and state == 'in' and ARGV[5] ~= 'again' then
  return {'IN'}
end
if ARGV[5] == 'look' then
  return {is_known and state == 'out' and 'OUT' or 'UNKNOWN'}
end
if not known and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[7]) then
  redis.call('DEL', KEYS[1])
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('turn %s %d', ARGV[3], now_ms + ARGV[4]))
redis.call('PEXPIRE', KEYS[1], ARGV[6])
return {'YOURS'}
