#!lua flags=allow-oom
-- Takes jobs as `fetch` does, for a fetch that stands, of a target without keys, a rate and a bound on its jobs in progress:
-- most find nothing to look at but jobs. Whatever else it meets, it takes nothing, and `fetch` tells what it was. Without
-- functions, which Lua would make for each job, and with few keys.
--
-- KEYS: beats, ip, info, dead; what is not there as a rule: paused, pause, the target's `held`, `groups` and `stopped`
--       (parts/keys.lua); then, of the queues in the order in which they are served, all `turn`, all lists and all hands
--       (parts/hand.lua)
-- ARGV: identity, base, want, hwm, as in fetch; the size of the dead set that stops fetches (0: no bound); how many bytes the
--       jobs may have together; the queues' names
-- Returns: 'OTHER': nothing was taken
--        | {base, more, position, qidx, raw, position, qidx, raw...}: base is what was issued before, and the jobs have the
--          tickets base+1, base+2… in that order; more: 1 if the bytes ended it, or something else than a job
--
-- Always holds: as in fetch; tickets and hwm follow what was issued since. Sent twice: it takes more, so nobody does that;
-- after a lost answer the client compares what is in the hash with what it knows.

local FIXED_KEYS, FIXED_ARGV, MAX_BATCH, CHUNK = 9, 6, 500, 8
local call, pcall, max, min = redis.call, redis.pcall, math.max, math.min
local base, want, hwm = tonumber(ARGV[2]), min(tonumber(ARGV[3]), MAX_BATCH), tonumber(ARGV[4])
local max_dead, left_bytes, count = tonumber(ARGV[5]), tonumber(ARGV[6]), #ARGV - FIXED_ARGV
local ip, paused, lists, hands = KEYS[2], KEYS[5], FIXED_KEYS + count, FIXED_KEYS + 2 * count

local rare, indexes = call('EXISTS', unpack(KEYS, 5, lists)), {}
local is_plain = (rare == 0 or rare == call('EXISTS', paused)) and call('HEXISTS', KEYS[1], ARGV[1]) == 1
  and (max_dead == 0 or call('ZCARD', KEYS[4]) < max_dead)
for n = 1, count do
  local name = ARGV[FIXED_ARGV + n]
  indexes[n] = is_plain and call('HGET', KEYS[3], 'index:' .. name)
  is_plain = indexes[n] and (rare == 0 or call('SISMEMBER', paused, name) == 0)
end
local known = call('HMGET', ip, 'last', 'hwm')
-- A Redis that lost its last second knows of fewer tickets than the client: none is issued twice.
local last, old_hwm = max(base, tonumber(known[1] or '0')), tonumber(known[2] or '0')
local number, more, answer, fields = last, 0, {last, 0}, {}

-- Of each queue first what is in its hand: that was next when it woke a fetch.
for n = 1, is_plain and count or 0 do
  for at = hands + n, lists + n, -count do
    local asked, found
    repeat
      asked = min(want - (number - last), CHUNK)
      found = asked > 0 and more == 0 and pcall('RPOP', KEYS[at], asked) or {}
      more = found.err and 1 or more
      for i, raw in ipairs(found) do
        left_bytes = left_bytes - #raw
        if left_bytes < 0 then
          for back = #found, i, -1 do
            call('RPUSH', KEYS[at], found[back])
          end
          more = 1
          break
        end
        number = number + 1
        -- Lua itself writes fourteen digits, in half the time.
        local ticket = (number < 1e14 and number or string.format('%.0f', number)) .. ':' .. indexes[n]
        local field, place = #fields, #answer
        fields[field + 1], fields[field + 2] = ticket, raw
        answer[place + 1], answer[place + 2], answer[place + 3] = n, indexes[n], raw
      end
    until #found < CHUNK or more == 1
  end
end

local new_hwm, size = max(old_hwm, min(hwm + last - base, number)), #fields
if size > 0 then
  fields[size + 1], fields[size + 2] = 'last', string.format('%.0f', number)
  size = size + 2
end
if new_hwm > old_hwm then
  fields[size + 1], fields[size + 2] = 'hwm', string.format('%.0f', new_hwm)
end
-- What Redis refuses to have in progress goes back to its queue.
if is_plain and #fields > 0 and type(pcall('HSET', ip, unpack(fields))) ~= 'number' then
  for at = #answer, 5, -3 do
    call('RPUSH', KEYS[lists + answer[at - 2]], answer[at])
  end
  is_plain = false
end
is_plain, answer[2] = is_plain and (more == 0 or number > last), more
-- What was not taken of the hands: others look for jobs in the lists alone.
if not is_plain or more == 1 or number - last >= want then
  for n = 1, count do
    while type(pcall('LMOVE', KEYS[hands + n], KEYS[lists + n], 'LEFT', 'RIGHT')) == 'string' do end
  end
end
return is_plain and answer or 'OTHER'
