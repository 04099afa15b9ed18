-- The keys of a target's queues: which of them may hand out a job now. Needs `clock`.
--
-- A key is named `fair key`, or with order `fair key\30order key` (each may be ''); the latter is ordered. Of a queue,
--   line  .. '\30' .. key is the list of a key's jobs that wait, the next one at its right end; `line` itself is a number:
--         how many jobs all these lists have, for people
--   turn  is a sorted set: those keys that wait and may start -> virtual time of their next job; with order alone, when
--         they began to wait (us)
--   fair  is a hash: LAST -> virtual time of the job that was handed out last; with both, fair key -> that of the last of
--         its ordered keys
-- and of a target, only for ordered keys,
--   held    is a sorted set: those that may not start -> epoch seconds: IN_PROGRESS + when a job of theirs was handed out, or
--           STOPPED + when they stopped at a death, or when their first job is due, which was put off
--   stopped is a hash: key -> jid of the job that died, while it is stopped, and until what it was opened by is settled
--   keys  is a string: by what the ordered keys are made. While it says something else than the target does, all that
--           is held or has its turn is done first (fetch.lua).
-- Always holds: an ordered key has one job in progress at most, and is held then; a key that waits is in `turn` or held.
-- A ticket is `number:queue index:group`. Lists have names that are made here: each command on them may be refused.
local WHOLE_COST, LAST = 25200, '\0v'
-- part: states

-- The key of a ticket; nil for a job that was handed out of none.
local function key_of(ticket)
  return string.match(ticket, '^%d+:%d+:(.*)$')
end

-- Text before the first \30, and whether there is one.
local function fair_key(key)
  local place = string.find(key, '\30', 1, true)
  return place and string.sub(key, 1, place - 1) or key, place ~= nil
end

-- Whether a target orders its jobs (by: its `groups`). Then a job of a key that is not ordered may have been handed out
-- before it did: if it goes back, it goes to its queue's list, and its key is read anew.
local function has_order(by)
  return redis.call('EXISTS', by) == 1
end

local function jid_of(raw)
  local is_json, job = pcall(cjson.decode, raw)
  return is_json and type(job) == 'table' and type(job.jid) == 'string' and job.jid or ''
end

-- What follows when a person took jobs out of a key's list: they are no longer counted, and if the first was among them,
-- which may have been put off, the one behind it may start.
local function count_taken(queue, busy_keys, key, list, count, has_first)
  if (tonumber(redis.pcall('INCRBY', queue.key_queue, -count)) or 0) <= 0 then
    redis.call('DEL', queue.key_queue)
  end
  if redis.call('EXISTS', list) == 0 then
    redis.call('ZREM', queue.ready_keys, key)
  end
  if has_first and (tonumber(redis.call('ZSCORE', busy_keys, key) or '') or STOPPED) < STOPPED then
    redis.call('ZADD', busy_keys, 'XX', '0', key)
  end
end

-- The queues of a target, whose keys follow one another from behind `first` on: all `turn`, all `line`, all `fair`.
local function queues_of_keys(first, count)
  local queues = {}
  for n = 1, count do
    queues[n] = {ready_keys = KEYS[first + n], key_queue = KEYS[first + count + n], fair = KEYS[first + 2 * count + n]}
  end
  return queues
end

-- weights: {fair key = weight}.
local function keys_of(busy_keys, stopped, queues, weights)
  local keys, now_us = {}, clock_us()

  local function cost_of(fair)
    return weights and math.floor(WHOLE_COST / math.max(1, math.min(100, tonumber(weights[fair]) or 1)) + 0.5) or WHOLE_COST
  end
  keys.cost_of, keys.now_us = cost_of, now_us
  keys.in_progress = string.format('%.3f', IN_PROGRESS + now_us / 1000000)

  -- What must have its type before the first write. Returns an error's text, or nil.
  function keys.refusal()
    local checks = {{'ZCARD', busy_keys}, {'HLEN', stopped}}
    for _, queue in ipairs(queues) do
      checks[#checks + 1], checks[#checks + 2] = {'ZCARD', queue.ready_keys}, {'HLEN', queue.fair}
    end
    for _, check in ipairs(checks) do
      local reply = redis.pcall(check[1], check[2])
      if type(reply) == 'table' then
        return check[2] .. ': ' .. reply.err
      end
    end
  end

  -- It is for people: it fails nothing.
  function keys.count(queue, by)
    if redis.pcall('INCRBY', queue.key_queue, by) == 0 then
      redis.call('DEL', queue.key_queue)
    end
  end

  -- Gives keys that wait in a queue their turn, if they have none: a round behind the one that was served last; with order
  -- alone, behind all.
  function keys.enter(queue, names)
    local fields, last, is_both = {}, nil, nil
    for n, key in ipairs(names) do
      local fair, is_ordered = fair_key(key)
      local time = now_us + n
      if not (keys.by_clock or is_ordered and fair == '') then
        if not last then
          last, is_both = tonumber(redis.call('HGET', queue.fair, LAST) or '0'), redis.call('HLEN', queue.fair) > 1
        end
        time = last
        if is_ordered or is_both then
          time = math.max(time, tonumber(redis.call('HGET', queue.fair, fair) or '0'))
        end
        time = time + cost_of(fair)
        if is_ordered and not redis.call('ZSCORE', queue.ready_keys, key) then
          redis.call('HSET', queue.fair, fair, string.format('%.0f', time))
        end
      end
      fields[2 * n - 1], fields[2 * n] = string.format('%.0f', time), key
    end
    if #fields > 0 then
      redis.call('ZADD', queue.ready_keys, 'NX', unpack(fields))
    end
  end

  -- Lets ordered keys go on (at most 500). Returns {key = true} of those that have a job.
  function keys.open(names)
    local ready = {}
    redis.call('ZREM', busy_keys, unpack(names))
    for _, queue in ipairs(queues) do
      local key_queues, waiting = {}, {}
      for n, key in ipairs(names) do
        key_queues[n] = queue.key_queue .. '\30' .. key
      end
      local count = redis.call('EXISTS', unpack(key_queues))
      for n = 1, count > 0 and #names or 0 do
        if count == #names or redis.call('EXISTS', key_queues[n]) == 1 then
          waiting[#waiting + 1], ready[names[n]] = names[n], true
        end
      end
      keys.enter(queue, waiting)
    end
    return ready
  end

  -- Likewise, whatever stopped them before.
  function keys.release(names)
    redis.call('HDEL', stopped, unpack(names))
    return keys.open(names)
  end

  -- No more is handed out of an ordered key until the job of this jid comes back, or a person says so.
  function keys.stop(key, jid)
    redis.call('ZADD', busy_keys, string.format('%.3f', STOPPED + now_us / 1000000), key)
    redis.call('HSET', stopped, key, jid)
  end

  -- Lets an ordered key go on at a time (epoch seconds; 0: now). Returns whether another one may start now.
  function keys.open_at(key, at_s)
    if at_s * 1000000 > now_us then
      redis.call('ZADD', busy_keys, string.format('%.6f', math.min(at_s, STOPPED - 1)), key)
      return false
    end
    return keys.open({key})[key]
  end

  -- What becomes of an ordered key of which a job is over; `effect`: 'go' (at a time, if one is given), 'stop' at the job of
  -- `jid`, or 'refused' for one that was not let in, which stops no key and opens none. Returns whether another one may
  -- start.
  function keys.settle(key, effect, jid, at_s)
    local was = effect == 'refused' and redis.call('HGET', stopped, key)
    if effect == 'stop' then
      keys.stop(key, jid)
      return false
    elseif not was then
      redis.call('HDEL', stopped, key)
      return keys.open_at(key, at_s or 0)
    end
    for _, queue in ipairs(queues) do
      local first = redis.pcall('LINDEX', queue.key_queue .. '\30' .. key, -1)
      if type(first) == 'string' and jid_of(first) == was then
        return keys.open({key})[key]
      end
    end
    keys.stop(key, was)
    return false
  end

  -- Puts a job before the others of its key; an ordered one may start at a time (epoch seconds; 0: now). Returns an
  -- error's text if Redis refuses that, else nil and whether it may start now.
  function keys.put_back(queue, key, raw, at_s)
    local key_queue, is_ordered = queue.key_queue .. '\30' .. key, select(2, fair_key(key))
    local pushed = redis.pcall('RPUSH', key_queue, raw)
    if type(pushed) == 'table' then
      return key_queue .. ': ' .. pushed.err
    end
    keys.count(queue, 1)
    if is_ordered then
      return nil, keys.open_at(key, at_s)
    end
    keys.enter(queue, {key})
    return nil, true
  end

  -- Lets keys go on that are due. Returns in how many milliseconds the next one is; -1: none is.
  function keys.promote()
    local first = redis.call('ZRANGE', busy_keys, 0, 0, 'WITHSCORES')
    if first[2] and tonumber(first[2]) * 1000000 <= now_us then
      keys.open(redis.call('ZRANGEBYSCORE', busy_keys, '-inf', string.format('%.6f', now_us / 1000000), 'LIMIT', 0, 200))
      first = redis.call('ZRANGE', busy_keys, 0, 0, 'WITHSCORES')
    end
    local at_s = tonumber(first[2] or 'inf')
    return at_s < STOPPED and math.max(1, math.ceil(at_s * 1000 - now_us / 1000)) or -1
  end

  return keys
end
