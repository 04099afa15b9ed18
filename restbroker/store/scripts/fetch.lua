#!lua flags=allow-oom
-- Takes jobs from queues into the identity's in-progress hash, under tickets that the client numbers.
--
-- KEYS: beats, ip, info, paused, pause, rate, inflight, dead, dying, unadmitted;
--       the queues' lists, in the order in which they are served;
--       the target's `held`, `groups` (by what its ordered keys are made) and `stopped`; then, of the queues in the same
--       order, all `turn`, all `line`, all `fair` (parts/keys.lua), all `pace` (classify.lua) and all hands (parts/hand.lua)
-- ARGV: 1 identity
--       2 base: the highest ticket number that the client knows of
--       3 want: how many jobs, at most 500; 0: it only confirms hwm
--       4 hwm: the highest ticket number that may reach a worker before the next confirmation
--       5, 6 the rate: microseconds between two jobs, how many may follow each other at once; 0: none
--       7 the most jobs in progress of all identities, 8 the size of the dead set that stops fetches; 0: no bound
--       9 how many bytes may be looked at, 10 how many a job may have
--       11 what the target says of its keys (JSON; parts/key_queues.lua); '' for nothing
--       12 1 if tickets and hwm may follow what was issued since, as for fetches that stand; else 0
--       13… the queues' names, in their lists' order
-- Returns: {'FENCED'}
--        | {'DUP', last}: tickets above base were issued already (a lost reply). Nothing was taken.
--        | {'PAUSED', ms}: ask again then; at most 1000, since an operator may resume at any time. Nothing was taken.
--        | {'DEAD', ms} | {'INFLIGHT', ms} | {'RATE', ms}: a bound is reached, likewise. Nothing was taken.
--        | {'OK', {paused names}, {bad names}, {{position, qidx, raw...}...}, more, counts, keys, base}
--          The jobs have the tickets base+1, base+2… in that order.
--          bad: the key, or that of the queue's hand, is not a list or may not be read.
--          raw: of a job that is too large its length stands in the place of its bytes, which stay here.
--          more: 1 if the bytes ended it.
--          counts: only where the target has keys, or had: of each queue, how many jobs its list has, how many the lists
--          of its keys have, and how many of those that were moved have no key of their own.
--          keys: likewise: in how many milliseconds the next key is due (-1: none is); 1 if keys that were made
--          otherwise are left (then nothing is taken from lists), else 0; then, in the jobs' order, the key of each, which
--          ends its ticket (nil: none).
--          base: what was issued before.
--
-- Always holds: a job is in a list or in the hash; no ticket is issued twice; `last` is written together with the jobs;
-- hwm = max(old, min(hwm, last)); an ordered key has one job in progress at most; whatever it answers, what was in the
-- hands is in the lists before, if the queue is not bad. Sent twice: the second answers DUP when the first took something.
--
-- A job waits in its queue's list, or in that of its key. Keys whose turn it is come first. Then, with fairness, jobs
-- are moved from the queue's list to those of their keys, whose turn it may be; with order alone, a job goes out at once
-- if its key is free. At most LOOKED_AT jobs or LOOKED_AT_BYTES are moved; none while a person clears the queue.
--
-- At least one job is taken, however large. Beyond the bytes, few jobs are looked at and put back.
--
-- The rate (parts/rate.lua) is moved only for what was taken, and jobs that go back do not move it back.

local FIXED_KEYS, FIXED_ARGV, MAX_BATCH, MAX_PAUSE_MS, CLEARING = 10, 12, 500, 1000, 'clear'
local LEAST_LOOKED_AT, LOOKED_AT, LOOKED_AT_BYTES = 20, 200, 262144
-- While others hold all that is allowed, only asking again tells; few tokens at a time would cost many calls.
local IN_FLIGHT_MS, GATHER_MS = 25, 10
local id, base, want, hwm = ARGV[1], tonumber(ARGV[2]), math.min(tonumber(ARGV[3]), MAX_BATCH), tonumber(ARGV[4])
local emission_us, burst = tonumber(ARGV[5]), tonumber(ARGV[6])
local max_in_flight, max_dead = tonumber(ARGV[7]), tonumber(ARGV[8])
local left_bytes, limit_bytes, spec = tonumber(ARGV[9]), tonumber(ARGV[10]), ARGV[11]
local follows, queue_count = ARGV[12] == '1', #ARGV - FIXED_ARGV

local at = FIXED_KEYS + queue_count
local busy_keys, by, stopped, first, hands = KEYS[at + 1], KEYS[at + 2], KEYS[at + 3], at + 3, at + 3 + 4 * queue_count

-- Most fetches that stand end with nothing: no job is anywhere, no key, and no pause. One question tells that.
local is_idle = follows and want > 0
if is_idle then
  local places = {KEYS[4], KEYS[5], busy_keys, stopped, spec == '' and by or nil}
  for n = 1, queue_count do
    local place = #places
    places[place + 1], places[place + 2] = KEYS[FIXED_KEYS + n], KEYS[hands + n]
    places[place + 3], places[place + 4] = KEYS[first + n], KEYS[first + queue_count + n]
  end
  is_idle = redis.call('EXISTS', unpack(places)) == 0
end

-- part: hand

local stuck = is_idle and {} or empty_hands(hands, FIXED_KEYS, queue_count)

-- Without its record no one could requeue its jobs: it has to take another name.
if redis.call('HEXISTS', KEYS[1], id) == 0 or redis.call('EXISTS', KEYS[3]) == 0 then
  return {'FENCED'}
end
-- These reads also surface a wrong type before the first write.
local known = redis.call('HMGET', KEYS[2], 'last', 'hwm')
local last, old_hwm = tonumber(known[1] or '0'), tonumber(known[2] or '0')
if last > base and follows then
  base, hwm = last, hwm + last - base
elseif last > base then
  return {'DUP', last}
end

-- part: clock

local function pause_ms()
  local reasons = redis.call('HVALS', KEYS[5])
  if #reasons == 0 then
    return 0
  end
  local now_us, longest = clock_us(), 0
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

-- How many more may be in progress, how many of ours are now, and what was written about ours.
local function room()
  local others, share, shares = 0, 0, redis.call('HGETALL', KEYS[7])
  for i = 1, #shares, 2 do
    local count = tonumber(shares[i + 1]) or 0
    if shares[i] == id then
      share = count
    elseif count > 0 and
        (redis.call('HEXISTS', KEYS[1], shares[i]) == 1 or redis.call('HEXISTS', KEYS[9], shares[i]) == 1) then
      -- What belongs to no one was written by others, and would never go.
      others = others + count
    end
  end
  local own = redis.call('HLEN', KEYS[2]) - (known[1] and 1 or 0) - (known[2] and 1 or 0)
  return max_in_flight - others - own, own, share
end

-- part: rate

-- Until the next token, or until some more if they come soon: never until the bucket is full, which would waste some.
local function rate_ms(first_us)
  local more_us = (math.min(want, math.floor(burst / 2)) - 1) * emission_us
  local gather_us = math.max(0, math.min(more_us, GATHER_MS * 1000 - first_us))
  return math.min(math.ceil((first_us + gather_us) / 1000), MAX_PAUSE_MS)
end

local own, share, full_us

-- Whoever may push without a token must not stop all others: those jobs are counted by themselves.
local function is_dead_set_full()
  local count = redis.call('ZCARD', KEYS[8])
  if count >= max_dead then
    for _, unadmitted in ipairs(redis.call('HVALS', KEYS[10])) do
      count = count - (tonumber(unadmitted) or 0)
    end
  end
  return count >= max_dead
end

-- Lowers `want` to what is allowed; or says why nothing is, and for how long.
local function limit()
  if max_dead > 0 and is_dead_set_full() then
    return 'DEAD', MAX_PAUSE_MS
  end
  if max_in_flight > 0 then
    local free
    free, own, share = room()
    if free <= 0 then
      return 'INFLIGHT', IN_FLIGHT_MS
    end
    want = math.min(want, free)
  end
  if emission_us > 0 then
    local granted, first_us
    granted, full_us, first_us = tokens(KEYS[6], clock_us(), emission_us, burst)
    if granted <= 0 then
      return 'RATE', rate_ms(first_us)
    end
    want = math.min(want, granted)
  end
end

if is_idle and max_in_flight > 0 then
  local free, ours, written = room()
  is_idle = free > 0 and ours == written
end
if is_idle and not (max_dead > 0 and is_dead_set_full()) and
    (spec == '' or (redis.call('GET', by) or '') == (cjson.decode(spec).order or '')) then
  local counts = spec ~= '' and {}
  for n = 1, counts and 3 * queue_count or 0 do
    counts[n] = 0
  end
  confirm(last)
  return {'OK', {}, {}, {}, 0, counts, counts and {-1, 0}, base}
end

local wait_ms = pause_ms()
local why = wait_ms > 0 and 'PAUSED'
if not why and want > 0 then
  why, wait_ms = limit()
end
if why then
  confirm(last)
  return {why, wait_ms}
end

local paused, bad, taken, number, more = {}, {}, {}, base, 0
local max, min = math.max, math.min

-- part: keys

-- part: key_queues

-- Nothing but this is asked where a target has no keys and had none.
local keys, key_queues, drains, due_ms = nil, nil, false, -1
local said, queues, counts, says = {}, {}, nil, nil
if want > 0 and (spec ~= '' or redis.call('EXISTS', unpack(KEYS, at + 1, first + queue_count)) > 0) then
  said = spec ~= '' and cjson.decode(spec) or {}
  queues = queues_of_keys(first, queue_count)
  for n = 1, queue_count do
    queues[n].pace = KEYS[first + 3 * queue_count + n]
  end
  keys = keys_of(busy_keys, stopped, queues, said.weights)
  local why = keys.refusal()
  if why then
    return redis.error_reply('WRONGTYPE ' .. why)
  end
  key_queues, counts, says = key_queues_of(keys, busy_keys, stopped, said, limit_bytes), {}, {}
  -- Of keys made otherwise, or by a target that ordered them, all are done before anything new is taken.
  if (redis.call('GET', by) or '') ~= (said.order or '') then
    drains = redis.call('EXISTS', busy_keys, unpack(KEYS, first + 1, first + queue_count)) > 0
    if not drains then
      redis.call(unpack(said.order and {'SET', by, said.order} or {'DEL', by}))
    end
  end
  due_ms, key_queues.drains = keys.promote(), drains
end
local looked_at, looked_at_bytes = 0, 0

-- What Redis refuses to have in progress goes back to its queue.
local function put_back(list, fields, count)
  for at = count, 2, -2 do
    redis.call('RPUSH', list, fields[at])
  end
end

-- Of the queue at hand: what is answered of it, what is written of it, and how its tickets end.
local answer, fields, index

-- Gives jobs their tickets, with the names of their keys if they are of any.
local function give(raws, names)
  local from = #fields - 2
  for n, raw in ipairs(raws) do
    number, left_bytes = number + 1, left_bytes - #raw
    -- Lua itself writes fourteen digits, in half the time.
    local ticket = (number < 1e14 and number or string.format('%.0f', number)) .. index
    fields[from + 2 * n + 1], fields[from + 2 * n + 2] = names and ticket .. ':' .. names[n] or ticket, raw
    answer[#answer + 1] = #raw > limit_bytes and is_too_large(raw, limit_bytes) and #raw or raw
    if says then
      says[#says + 1] = names and names[n] or false
    end
  end
  want = want - #raws
  more = left_bytes <= 0 and 1 or more
end

-- Takes what the bytes allow from a list. Returns whether it is one.
local function take(list)
  local raws, _, is_cut = pop(list, want, left_bytes, number == base)
  give(raws or {})
  more = is_cut and 1 or more
  return raws ~= nil
end

-- Moves jobs of a list into the lists of keys, and takes from these. Returns whether the list is one.
local function take_of_keys(queue, list)
  local is_fair, is_list, is_spent, serve = (said.fair or 0) > 0 or said.fair_member, true, false, nil
  local moves = spec ~= '' and not drains and redis.call('GET', queue.pace) ~= CLEARING
  queue.without_key = 0

  -- Returns how many jobs it popped.
  local function move(most, direct)
    local most_bytes = min(LOOKED_AT_BYTES - looked_at_bytes, direct > 0 and left_bytes or LOOKED_AT_BYTES)
    local is_first = direct == 0 or number == base
    local raws, size, is_cut = pop(list, min(max(LEAST_LOOKED_AT, most), LOOKED_AT - looked_at), most_bytes, is_first)
    is_list, more = raws ~= nil, is_cut and direct > 0 and 1 or more
    if not raws or #raws == 0 then
      return 0
    end
    looked_at, looked_at_bytes = looked_at + #raws, looked_at_bytes + size
    is_spent = looked_at >= LOOKED_AT or looked_at_bytes >= LOOKED_AT_BYTES
    local given, names, without_key, is_refused, is_opened = key_queues.append(queue, list, raws, direct)
    give(given, names)
    if is_opened then
      keys.promote()
      serve()
    end
    queue.without_key, is_list = queue.without_key + without_key, not is_refused
    return #raws
  end

  function serve()
    local raws, names, is_cut = key_queues.serve(queue, want, left_bytes, number == base)
    give(raws, names)
    more = is_cut and 1 or more
  end

  if moves and is_fair then
    move(2 * want, 0)
  end
  serve()
  -- No key waits any more that may start: those of the list are next.
  while moves and want > 0 and more == 0 and is_list and not is_spent and move(want, is_fair and 0 or want) > 0 do
    if is_fair then
      serve()
    end
  end
  if is_spent and want > 0 and is_list and redis.call('LLEN', list) > 0 then
    more = 1
  end
  return is_list
end

for position = 1, queue_count do
  local name, list = ARGV[FIXED_ARGV + position], KEYS[FIXED_KEYS + position]
  local qidx, queue = tonumber(redis.call('HGET', KEYS[3], 'index:' .. name)), queues[position]
  if not qidx or stuck[position] then
    bad[#bad + 1] = name
  elseif redis.call('SISMEMBER', KEYS[4], name) == 1 then
    paused[#paused + 1] = name
  elseif want > 0 and more == 0 then
    answer, fields, index = {position, qidx}, {}, ':' .. qidx
    local is_list = not key_queues or take_of_keys(queue, list)
    if is_list and spec == '' and not drains and want > 0 and more == 0 then
      is_list = take(list)
    end
    local count = #fields
    if count > 0 then
      fields[count + 1], fields[count + 2] = 'last', string.format('%.0f', number)
      local written = redis.pcall('HSET', KEYS[2], unpack(fields))
      if type(written) == 'number' then
        taken[#taken + 1] = answer
      else
        put_back(list, fields, count)
        is_list, number, want = false, number - count / 2, want + count / 2
      end
    end
    if not is_list then
      bad[#bad + 1] = name
    end
  end
  if key_queues then
    local left, waits = redis.pcall('LLEN', list), redis.pcall('GET', queue.key_queue)
    counts[3 * position - 2] = type(left) == 'number' and left or 0
    counts[3 * position - 1] = type(waits) == 'string' and tonumber(waits) or 0
    counts[3 * position] = queue.without_key or 0
  end
end

local count = number - base
if full_us and count > 0 then
  write_rate(KEYS[6], full_us + count * emission_us)
end
if own and own + count ~= share then
  redis.call('HSET', KEYS[7], id, own + count)
end
confirm(number)
return {'OK', paused, bad, taken, more, counts or false,
        says and {due_ms, drains and 1 or 0, unpack(says)} or false, base}
