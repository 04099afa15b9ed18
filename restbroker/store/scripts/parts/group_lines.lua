-- Moves jobs from a queue's list into the lists of their groups, and takes jobs of these. A part of `fetch` and `classify`.
-- Always holds: jobs of one group stay in their order; of an ordered group one job is taken, and it is held then; what a list
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

-- said: what the target says of its groups: `by` (names of arguments) or `member` (of the job), of these the first `fair`
-- are the fair key and the rest is the order key, the default `host`. limit_bytes: of a larger job no key is read, unless
-- restbroker stored it.
local function group_lines(groups, held, stopped, said, limit_bytes)
  local LONGEST_KEY, BETWEEN, LARGEST, min, max, floor = 256, '\31', 8e15, math.min, math.max, math.floor
  local names, host, fair_count = said.by or {}, said.host, said.fair or 0
  local is_fair = fair_count > 0 or said.fair_member ~= nil
  local lines = {}
  local now_us = groups.now_us
  groups.by_clock = not is_fair

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

  -- What restbroker stored was within the limit before, and grew by its history.
  local function is_read(raw)
    return #raw <= limit_bytes or #raw <= 4 * limit_bytes and string.find(raw, '"restbroker_', 1, true)
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
  local function group_in(raw)
    local job = is_read(raw) and decode(raw)
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

  -- Appends jobs to the lists of their groups; up to `direct` of those whose groups are free are taken instead, where no group
  -- waits before them. A job under which a group stopped is put first, and opens it. Returns those taken, their groups, how many
  -- have no key, whether Redis refused a list (its jobs are back), and whether a group was opened.
  function lines.append(queue, list, raws, direct)
    local jobs, order, free, without_key, stored, is_refused = {}, {}, {}, 0, 0, false
    local given, names, holding, jids, is_opened = {}, {}, {}, {}, false
    for _, raw in ipairs(raws) do
      local group, jid = group_in(raw)
      jids[raw] = jid
      if not jobs[group] then
        jobs[group], order[#order + 1] = {}, group
      end
      jobs[group][#jobs[group] + 1] = raw
      without_key = without_key + (group == '' and 1 or 0)
    end
    local holds, names_of = #order > 0 and redis.call('ZMSCORE', held, unpack(order)), {}
    for n, group in ipairs(order) do
      names_of[n] = queue.line .. '\30' .. group
    end
    -- Only where someone deleted a turn by hand has a group a list here that waits for none: it gets a turn again.
    local has_lists = direct > 0 and #order > 0 and redis.call('EXISTS', unpack(names_of)) > 0
    local has_stopped = redis.call('HLEN', stopped) > 0
    for n, group in ipairs(order) do
      local of_group = jobs[group]
      local died = has_stopped and holds[n] and tonumber(holds[n]) >= STOPPED and redis.call('HGET', stopped, group)
      for place = 1, died and #of_group or 0 do
        if jids[of_group[place]] == died and type(redis.pcall('RPUSH', names_of[n], of_group[place])) == 'number' then
          table.remove(of_group, place)
          groups.count(queue, 1)
          if tonumber(holds[n]) < IN_PROGRESS then
            -- Due now: whoever knows all of its queues lets it go on.
            redis.call('ZADD', held, '0', group)
            is_opened = true
          end
          break
        end
      end
      if #given < direct and not holds[n] and not (has_lists and redis.call('EXISTS', names_of[n]) == 1) then
        local is_ordered = select(2, fair_key(group))
        local count = is_ordered and 1 or min(#of_group, direct - #given)
        for i = 1, count do
          given[#given + 1], names[#names + 1] = of_group[i], group
        end
        if is_ordered then
          holding[#holding + 1], holding[#holding + 2], holds[n] = groups.in_progress, group, true
        end
        if count == #of_group then
          of_group = {}
        elseif count > 0 then
          of_group = {unpack(of_group, count + 1)}
        end
      end
      if #of_group > 0 then
        local pushed = redis.pcall('LPUSH', names_of[n], unpack(of_group))
        if type(pushed) == 'table' then
          for i = #of_group, 1, -1 do
            redis.call('RPUSH', list, of_group[i])
          end
          is_refused = true
        else
          stored = stored + #of_group
          if not holds[n] then
            free[#free + 1] = group
          end
        end
      end
    end
    if #holding > 0 then
      redis.call('ZADD', held, unpack(holding))
    end
    if stored > 0 then
      groups.count(queue, stored)
      groups.enter(queue, free)
    end
    return given, names, without_key, is_refused, is_opened or #free > 0 and #given < direct
  end

  -- Shares out `want` jobs among groups by virtual time: sets `count` of each, at most its `most`.
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

  -- Takes `want` jobs of the groups whose turn is next: one of each that is ordered, which is held then. Returns them, their
  -- groups, and whether the bytes ended it. A group without a list is forgotten.
  function lines.serve(queue, want, left_bytes, is_first)
    local raws, groups_taken, size, is_cut, last = {}, {}, 0, false, 0
    while #raws < want and not is_cut do
      local found = redis.call('ZRANGE', queue.turn, 0, want - #raws - 1, 'WITHSCORES')
      if #found == 0 then
        break
      end
      local ready, out, again, holding, most_count = {}, {}, {}, {}, 0
      local own = {}
      for n = 1, #found, 2 do
        own[#own + 1] = found[n]
      end
      local holds = redis.call('ZMSCORE', held, unpack(own))
      for n, group in ipairs(own) do
        local fair, is_ordered = fair_key(group)
        if holds[n] then
          out[#out + 1] = group
        else
          ready[#ready + 1] = {group = group, time = max(0, min(tonumber(found[2 * n]), LARGEST)), fair = fair, cost = groups.cost_of(fair),
                               is_ordered = is_ordered, most = is_ordered and 1 or want}
        end
      end
      if #ready > 0 then
        share(ready, want - #raws)
      end
      for _, one in ipairs(ready) do
        if one.count > 0 and not is_cut then
          local line, taken = queue.line .. '\30' .. one.group, nil
          local bytes
          taken, bytes, is_cut = pop(line, one.count, left_bytes - size, is_first and #raws + most_count == 0)
          taken, size = taken or {}, size + bytes
          one.raws, most_count = taken, max(most_count, #taken)
          if one.is_ordered and #taken == 1 then
            holding[#holding + 1], holding[#holding + 2], out[#out + 1] = groups.in_progress, one.group, one.group
          elseif #taken < one.count and not is_cut or redis.call('EXISTS', line) == 0 then
            out[#out + 1] = one.group
          elseif #taken > 0 then
            again[#again + 1] = one
          end
          if one.is_ordered and one.fair ~= '' and one.time == tonumber(redis.call('HGET', queue.fair, one.fair) or '-1') then
            redis.call('HDEL', queue.fair, one.fair)
          end
        end
      end
      -- Those of one group not behind one another.
      local picks = {}
      for round = 1, most_count do
        for _, one in ipairs(ready) do
          if one.raws and one.raws[round] then
            picks[#picks + 1] = {time = one.time + (round - 1) * one.cost, place = #picks, group = one.group, raw = one.raws[round]}
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
        raws[#raws + 1], groups_taken[#groups_taken + 1] = pick.raw, pick.group
      end
      if #holding > 0 then
        redis.call('ZADD', held, unpack(holding))
      end
      if #out > 0 then
        redis.call('ZREM', queue.turn, unpack(out))
      end
      for n, one in ipairs(again) do
        local time = is_fair and one.time + #one.raws * one.cost or now_us
        local behind = said.order and is_fair and tonumber(redis.call('HGET', queue.fair, one.fair) or '0') or 0
        if behind > 0 then
          time = max(time, behind + one.cost)
          redis.call('HSET', queue.fair, one.fair, string.format('%.0f', time))
        end
        again[n] = {string.format('%.0f', time), one.group}
      end
      for _, one in ipairs(again) do
        redis.call('ZADD', queue.turn, one[1], one[2])
      end
    end
    if #raws > 0 then
      groups.count(queue, -#raws)
      -- Without fairness, turns are times of Redis' clock.
      if (is_fair or lines.drains or not said.order) and redis.call('ZCARD', queue.turn) == 0 then
        redis.call('DEL', queue.fair)
      elseif is_fair then
        redis.call('HSET', queue.fair, LAST, string.format('%.0f', last))
      end
    end
    return raws, groups_taken, is_cut
  end

  return lines
end
