#!lua flags=allow-oom
-- Settles jobs that are done, and have nothing else to write: as `finish` does, for a worker pool that has no marks and no
-- bound on its jobs in progress. Without functions, which Lua would make for each job, and with few keys.
--
-- KEYS: ip, stat:processed, the day's processed; where there are records: the history
-- ARGV: hwm, as in fetch (0 leaves it); the number of jobs; their tickets; where there are records: as in finish
-- Returns: per job 1 applied | 0 was applied before, or the identity was fenced and recovered
-- Sent twice: the second answers 0 for each job that the first applied.

local HISTORY_MAX, DAY_STATS_S = 1000000, 157680000
local call, pcall = redis.call, redis.pcall
local ip, hwm, count, processed, codes = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), 0, {}

-- No `last`: the hash is gone and must not come back.
if hwm > 0 then
  local known = call('HMGET', ip, 'last', 'hwm')
  local new = math.min(hwm, tonumber(known[1] or '0'))
  if new > tonumber(known[2] or '0') then
    call('HSET', ip, 'hwm', new)
  end
end
for n = 1, count do
  codes[n] = call('HDEL', ip, ARGV[2 + n])
  processed = processed + codes[n]
end

-- What follows can fail no job whose effects are done. A day's counter that is new ends with its time.
if processed > 0 then
  pcall('INCRBY', KEYS[2], processed)
  if pcall('INCRBY', KEYS[3], processed) == processed then
    pcall('EXPIRE', KEYS[3], DAY_STATS_S)
  end
end
local history, first = KEYS[4], 3 + count
if history then
  local id
  for n = 1, count do
    if codes[n] == 1 and ARGV[first + n] ~= '' then
      id = pcall('XADD', history, 'MAXLEN', '~', HISTORY_MAX, '*', 'end', ARGV[first + n])
    end
  end
  -- An entry's name begins with the milliseconds of Redis' clock.
  local now_ms = type(id) == 'string' and tonumber(string.match(id, '^%d+'))
  if now_ms then
    pcall('XTRIM', history, 'MINID', '~', string.format('%.0f', now_ms - ARGV[first]))
    pcall('PEXPIRE', history, ARGV[first])
  end
end
return codes
