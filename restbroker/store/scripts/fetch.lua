#!lua flags=allow-oom
-- Takes jobs from queues into the identity's in-progress hash, under tickets that the client numbers.
--
-- KEYS: beats, ip, info, paused, pause, rate, inflight, recovered version, then the queues' lists as they are served
--       (rate and inflight are not used yet)
-- ARGV: identity, base (highest ticket number the client knows of), want (at most 500), hwm (highest ticket number
--       that may reach a worker before the next confirmation), then the queues' names in the order of their lists
-- Returns: {'FENCED'}
--        | {'DUP', last}: tickets above base were issued already (a lost reply). Nothing was taken.
--        | {'PAUSED', ms}: ask again then; at most 1000, since an operator may resume at any time. Nothing was taken.
--        | {'OK', recovered version, {paused names}, {bad names}, {{position, qidx, raw...}...}}
--          Tickets are base+1, base+2... in that order. Bad: the key is not a list or may not be read.
--
-- `last` is written together with the jobs; hwm = max(old, min(hwm, last)).
-- Sent twice: the second answers DUP when the first took something.

local FIXED_KEYS, FIXED_ARGV, MAX_BATCH, MAX_PAUSE_MS = 8, 4, 500, 1000
local id, base, want, hwm = ARGV[1], tonumber(ARGV[2]), math.min(tonumber(ARGV[3]), MAX_BATCH), tonumber(ARGV[4])

if redis.call('HEXISTS', KEYS[1], id) == 0 then
  return {'FENCED'}
end
-- These reads also surface a wrong type before the first write.
local known = redis.call('HMGET', KEYS[2], 'last', 'hwm')
local last, old_hwm = tonumber(known[1] or '0'), tonumber(known[2] or '0')
if last > base then
  return {'DUP', last}
end
local version = redis.call('GET', KEYS[8]) or '0'

local function pause_ms()
  local reasons = redis.call('HVALS', KEYS[5])
  if #reasons == 0 then
    return 0
  end
  local now = redis.call('TIME')
  local now_us, longest = now[1] * 1000000 + now[2], 0
  for _, text in ipairs(reasons) do
    local until_us = tonumber(text)
    -- What is no number was written by hand: the safe reading is a pause without an end.
    if not until_us or until_us == 0 then
      return MAX_PAUSE_MS
    end
    longest = math.max(longest, math.ceil((until_us - now_us) / 1000))
  end
  return math.min(longest, MAX_PAUSE_MS)
end

local function confirm(newest)
  local new = math.min(hwm, newest)
  if new > old_hwm then
    redis.call('HSET', KEYS[2], 'hwm', new)
  end
end

local wait_ms = pause_ms()
if wait_ms > 0 then
  confirm(last)
  return {'PAUSED', wait_ms}
end

local paused, bad, taken, number = {}, {}, {}, base

-- Returns what was popped, or nil and the jobs are back where they were.
local function take(list, qidx, count)
  local raws = redis.pcall('RPOP', list, count)
  if not raws then
    return {}
  end
  if raws.err then
    return nil
  end
  local fields = {}
  for i, raw in ipairs(raws) do
    fields[2 * i - 1] = string.format('%.0f:%d', number + i, qidx)
    fields[2 * i] = raw
  end
  fields[#fields + 1] = 'last'
  fields[#fields + 1] = string.format('%.0f', number + #raws)
  local written = redis.pcall('HSET', KEYS[2], unpack(fields))
  if type(written) == 'table' and written.err then
    for i = #raws, 1, -1 do
      redis.call('RPUSH', list, raws[i])
    end
    return nil
  end
  return raws
end

for position = 1, #KEYS - FIXED_KEYS do
  local name = ARGV[FIXED_ARGV + position]
  local qidx = redis.call('HGET', KEYS[3], 'index:' .. name)
  if not qidx then
    bad[#bad + 1] = name
  elseif redis.call('SISMEMBER', KEYS[4], name) == 1 then
    paused[#paused + 1] = name
  elseif want > 0 then
    local raws = take(KEYS[FIXED_KEYS + position], tonumber(qidx), want)
    if not raws then
      bad[#bad + 1] = name
    elseif #raws > 0 then
      number, want = number + #raws, want - #raws
      taken[#taken + 1] = {position, tonumber(qidx), unpack(raws)}
    end
  end
end
confirm(math.max(number, last))
return {'OK', version, paused, bad, taken}
