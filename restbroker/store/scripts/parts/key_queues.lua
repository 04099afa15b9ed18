-- Moves jobs from a queue's list into the lists of their keys, and takes jobs of these. A part of `fetch` and `classify`.
-- Always holds: jobs of one key stay in their order; of an ordered key one job is taken, and it is held then; what a list
-- refuses is back where it came from.

-- Takes up to so many jobs and bytes from a list; one job however large, if `is_first`. Returns them, the oldest first, their
-- size, and whether more would be too many bytes; nil if it is no list or may not be read.
local function pop(list, most, most_bytes, is_first)
  local raws, size = {}, 0
  while #raws < most do
    -- The first alone: no one knows before how large they are.
    local room = math.floor((most_bytes - size) * #raws / math.max(1, size))
    local chunk = #raws == 0 and 1 or math.max(1, math.min(most - #raws, 4 * #raws, room))
    if size >= most_bytes and #raws > 0 then
      return raws, size, redis.call('EXISTS', list) == 1
    end
    local found = redis.pcall('RPOP', list, chunk)
    if found and found.err then
      return nil, 0, false
    end
    for i = 1, found and #found or 0 do
      if size + #found[i] > most_bytes and (#raws > 0 or not is_first) then
        for back = #found, i, -1 do
          redis.call('RPUSH', list, found[back])
        end
        return raws, size, true
      end
      raws[#raws + 1], size = found[i], size + #found[i]
    end
    if not found or #found < chunk then
      break
    end
  end
  return raws, size, false
end

-- part: size

-- said: what the target says of its keys: `by` (names of arguments) or `member` (of the job), of these the first `fair`
-- are the fair key and the rest is the order key, the default `host`. limit_bytes: of a larger job no key is read.
local function key_queues_of(keys, busy_keys, stopped, said, limit_bytes)
  local LONGEST_KEY, BETWEEN, LARGEST, min, max, floor = 256, '\31', 8e15, math.min, math.max, math.floor
  local names, host, fair_count = said.by or {}, said.host, said.fair or 0
  local is_fair = fair_count > 0 or said.fair_member ~= nil
  local key_queues = {}
  local now_us = keys.now_us
  keys.by_clock = not is_fair

  local function decode(json)
    local is_json, value = pcall(cjson.decode, json)
    if is_json then
      return value
    end
  end

  -- A ticket is a text that all programs read.
  local function is_utf8(text)
    local rest = string.gsub(text, '[\1-\127]+', '')
    rest = string.gsub(rest, '[\194-\223][\128-\191]', '')
    rest = string.gsub(rest, '\224[\160-\191][\128-\191]', '')
    rest = string.gsub(rest, '[\225-\236\238\239][\128-\191][\128-\191]', '')
    rest = string.gsub(rest, '\237[\128-\159][\128-\191]', '')
    rest = string.gsub(rest, '\240[\144-\191][\128-\191][\128-\191]', '')
    rest = string.gsub(rest, '[\241-\243][\128-\191][\128-\191][\128-\191]', '')
    return string.gsub(rest, '\244[\128-\143][\128-\191][\128-\191]', '') == ''
  end

  local function key_part(value)
    if type(value) == 'string' and #value >= 1 and #value <= LONGEST_KEY and not string.find(value, '[%z\1-\31\127]')
        and (not string.find(value, '[\128-\255]') or is_utf8(value)) then
      return string.find(value, '[A-Z]') and string.gsub(value, '[A-Z]', string.lower) or value
    end
  end

  -- Of an object, of a list of pairs, or of a list of objects with one member each.
  local function argument(arguments, name)
    if arguments[name] ~= nil then
      return arguments[name]
    end
    for i = 1, #arguments do
      local item = arguments[i]
      if type(item) == 'table' then
        if #item == 2 and item[1] == name then
          return item[2]
        elseif item[name] ~= nil and next(item, next(item)) == nil then
          return item[name]
        end
      end
    end
    if name == 'host' then
      return host
    end
  end

  -- The args of a job of ActiveJob without its wrapper and its notes about hashes; nil for others.
  local function unwrapped(args)
    local wrapper = args[1]
    local inner = args[2] == nil and type(wrapper) == 'table' and type(wrapper.job_class) == 'string' and wrapper.arguments
    if type(inner) ~= 'table' then
      return nil
    end
    local pairs_of = type(inner[2]) == 'table' and inner[2] or {}
    for i = 1, #pairs_of do
      local item = pairs_of[i]
      if type(item) == 'table' then
        item._aj_symbol_keys, item._aj_ruby2_keywords, item._aj_hash_with_indifferent_access = nil, nil, nil
      end
    end
    return inner
  end

  local function arguments_of(job)
    local args = type(job.args) == 'string' and decode(job.args) or job.args
    args = type(args) == 'table' and job.wrapped ~= nil and unwrapped(args) or args
    local arguments = type(args) == 'table' and args[2]
    if type(arguments) == 'string' then
      arguments = decode(arguments)
    end
    return type(arguments) == 'table' and arguments or {}
  end

  -- The values of names first + 1 … last; '' if one has none that is a key.
  local function joined(arguments, first, last)
    local parts = {}
    for n = first + 1, last do
      parts[n - first] = key_part(argument(arguments, names[n]))
      if not parts[n - first] then
        return ''
      end
    end
    return table.concat(parts, BETWEEN)
  end

  -- No job is refused for its key: what has none has no order, and shares the turn of its fair key.
  local function key_in(raw)
    local job = not is_too_large(raw, limit_bytes) and decode(raw)
    if type(job) ~= 'table' then
      return ''
    end
    local arguments = (said.by or fair_count > 0) and arguments_of(job)
    local fair = arguments and joined(arguments, 0, fair_count) or ''
    if said.fair_member then
      fair = key_part(job[said.fair_member]) or ''
    end
    local order = said.member and key_part(job[said.member]) or said.by and joined(arguments, fair_count, #names) or ''
    -- Without its fair key it lacks a part of its order key, too.
    return order ~= '' and (fair ~= '' or not is_fair) and fair .. '\30' .. order or fair, job.jid
  end

  -- Appends jobs to the lists of their keys; up to `direct` of those whose keys are free are taken instead, where no key
  -- waits before them. A job under which a key stopped is put first, and opens it. Returns those taken, their keys, how many
  -- have no key, whether Redis refused a list (its jobs are back), and whether a key was opened.
  function key_queues.append(queue, list, raws, direct)
    local jobs, order, free, without_key, stored, is_refused = {}, {}, {}, 0, 0, false
    local given, names, holding, jids, is_opened = {}, {}, {}, {}, false
    for _, raw in ipairs(raws) do
      local key, jid = key_in(raw)
      jids[raw] = jid
      if not jobs[key] then
        jobs[key], order[#order + 1] = {}, key
      end
      jobs[key][#jobs[key] + 1] = raw
      without_key = without_key + (key == '' and 1 or 0)
    end
    local holds, names_of = #order > 0 and redis.call('ZMSCORE', busy_keys, unpack(order)), {}
    for n, key in ipairs(order) do
      names_of[n] = queue.key_queue .. '\30' .. key
    end
    -- Only where someone deleted a turn by hand has a key a list here that waits for none: it gets a turn again.
    local has_lists = direct > 0 and #order > 0 and redis.call('EXISTS', unpack(names_of)) > 0
    local has_stopped = redis.call('HLEN', stopped) > 0
    for n, key in ipairs(order) do
      local of_key = jobs[key]
      local died = has_stopped and holds[n] and tonumber(holds[n]) >= STOPPED and redis.call('HGET', stopped, key)
      for place = 1, died and #of_key or 0 do
        if jids[of_key[place]] == died and type(redis.pcall('RPUSH', names_of[n], of_key[place])) == 'number' then
          table.remove(of_key, place)
          keys.count(queue, 1)
          if tonumber(holds[n]) < IN_PROGRESS then
            -- Due now: whoever knows all of its queues lets it go on.
            redis.call('ZADD', busy_keys, '0', key)
            is_opened = true
          end
          break
        end
      end
      if #given < direct and not holds[n] and not (has_lists and redis.call('EXISTS', names_of[n]) == 1) then
        local is_ordered = select(2, fair_key(key))
        local count = is_ordered and 1 or min(#of_key, direct - #given)
        for i = 1, count do
          given[#given + 1], names[#names + 1] = of_key[i], key
        end
        if is_ordered then
          holding[#holding + 1], holding[#holding + 2], holds[n] = keys.in_progress, key, true
        end
        if count == #of_key then
          of_key = {}
        elseif count > 0 then
          of_key = {unpack(of_key, count + 1)}
        end
      end
      if #of_key > 0 then
        local pushed = redis.pcall('LPUSH', names_of[n], unpack(of_key))
        if type(pushed) == 'table' then
          for i = #of_key, 1, -1 do
            redis.call('RPUSH', list, of_key[i])
          end
          is_refused = true
        else
          stored = stored + #of_key
          if not holds[n] then
            free[#free + 1] = key
          end
        end
      end
    end
    if #holding > 0 then
      redis.call('ZADD', busy_keys, unpack(holding))
    end
    if stored > 0 then
      keys.count(queue, stored)
      keys.enter(queue, free)
    end
    return given, names, without_key, is_refused, is_opened or #free > 0 and #given < direct
  end

  -- Shares out `want` jobs among keys by virtual time: sets `count` of each, at most its `most`.
  local function share(ready, want)
    local function count_till(time)
      local all = 0
      for _, one in ipairs(ready) do
        one.count = one.time <= time and min(one.most, floor((time - one.time) / one.cost) + 1) or 0
        all = all + one.count
      end
      return all
    end
    local low, high = ready[1].time - 1, ready[#ready].time + WHOLE_COST * want
    if count_till(high) <= want then
      return
    end
    while high - low > 1 do
      local middle = floor((low + high) / 2)
      if count_till(middle) > want then
        high = middle
      else
        low = middle
      end
    end
    local left = want - count_till(low)
    -- Of those that come at the very same time, the first.
    for _, one in ipairs(ready) do
      if left > 0 and one.count < one.most and one.time + one.count * one.cost == high then
        one.count, left = one.count + 1, left - 1
      end
    end
  end

  -- Takes `want` jobs of the keys whose turn is next: one of each that is ordered, which is held then. Returns them, their
  -- keys, and whether the bytes ended it. A key without a list is forgotten.
  function key_queues.serve(queue, want, left_bytes, is_first)
    local raws, keys_taken, size, is_cut, last = {}, {}, 0, false, 0
    while #raws < want and not is_cut do
      local found = redis.call('ZRANGE', queue.ready_keys, 0, want - #raws - 1, 'WITHSCORES')
      if #found == 0 then
        break
      end
      local ready, out, again, holding, most_count = {}, {}, {}, {}, 0
      local own = {}
      for n = 1, #found, 2 do
        own[#own + 1] = found[n]
      end
      local holds = redis.call('ZMSCORE', busy_keys, unpack(own))
      for n, key in ipairs(own) do
        local fair, is_ordered = fair_key(key)
        if holds[n] then
          out[#out + 1] = key
        else
          ready[#ready + 1] = {key = key, time = max(0, min(tonumber(found[2 * n]), LARGEST)), fair = fair, cost = keys.cost_of(fair),
                               is_ordered = is_ordered, most = is_ordered and 1 or want}
        end
      end
      if #ready > 0 then
        share(ready, want - #raws)
      end
      for _, one in ipairs(ready) do
        if one.count > 0 and not is_cut then
          local key_queue, taken = queue.key_queue .. '\30' .. one.key, nil
          local bytes
          taken, bytes, is_cut = pop(key_queue, one.count, left_bytes - size, is_first and #raws + most_count == 0)
          taken, size = taken or {}, size + bytes
          one.raws, most_count = taken, max(most_count, #taken)
          if one.is_ordered and #taken == 1 then
            holding[#holding + 1], holding[#holding + 2], out[#out + 1] = keys.in_progress, one.key, one.key
          elseif #taken < one.count and not is_cut or redis.call('EXISTS', key_queue) == 0 then
            out[#out + 1] = one.key
          elseif #taken > 0 then
            again[#again + 1] = one
          end
          if one.is_ordered and one.fair ~= '' and one.time == tonumber(redis.call('HGET', queue.fair, one.fair) or '-1') then
            redis.call('HDEL', queue.fair, one.fair)
          end
        end
      end
      -- Those of one key not behind one another.
      local picks = {}
      for round = 1, most_count do
        for _, one in ipairs(ready) do
          if one.raws and one.raws[round] then
            picks[#picks + 1] = {time = one.time + (round - 1) * one.cost, place = #picks, key = one.key, raw = one.raws[round]}
          end
        end
      end
      if said.weights then
        table.sort(picks, function(one, other)
          return one.time < other.time or one.time == other.time and one.place < other.place
        end)
      end
      for n, pick in ipairs(picks) do
        last = max(last, pick.time)
        raws[#raws + 1], keys_taken[#keys_taken + 1] = pick.raw, pick.key
      end
      if #holding > 0 then
        redis.call('ZADD', busy_keys, unpack(holding))
      end
      if #out > 0 then
        redis.call('ZREM', queue.ready_keys, unpack(out))
      end
      for n, one in ipairs(again) do
        local time = is_fair and one.time + #one.raws * one.cost or now_us
        local behind = said.order and is_fair and tonumber(redis.call('HGET', queue.fair, one.fair) or '0') or 0
        if behind > 0 then
          time = max(time, behind + one.cost)
          redis.call('HSET', queue.fair, one.fair, string.format('%.0f', time))
        end
        again[n] = {string.format('%.0f', time), one.key}
      end
      for _, one in ipairs(again) do
        redis.call('ZADD', queue.ready_keys, one[1], one[2])
      end
    end
    if #raws > 0 then
      keys.count(queue, -#raws)
      -- Without fairness, turns are times of Redis' clock.
      if (is_fair or key_queues.drains or not said.order) and redis.call('ZCARD', queue.ready_keys) == 0 then
        redis.call('DEL', queue.fair)
      elseif is_fair then
        redis.call('HSET', queue.fair, LAST, string.format('%.0f', last))
      end
    end
    return raws, keys_taken, is_cut
  end

  return key_queues
end
