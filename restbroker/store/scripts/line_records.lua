#!lua flags=no-writes
-- Reads some of the lines of a queue: whose they are, which jobs they have, and when their turn comes.
--
-- KEYS: the queue's `keys`, its `turn` (see parts/lines.lua)
-- ARGV: cursor ('0' begins), about how many
-- Returns: {next cursor ('0': that was all), key, number of its first job, number behind its last, virtual finish time of
--          the first ('' if someone deleted its turn), …}
-- A line that is there all the while is returned, perhaps more than once.
-- Sent twice: it only reads.

local LARGEST, WIDEST = 9e15, 1e9
local keys, turn = KEYS[1], KEYS[2]
local page = redis.call('HSCAN', keys, ARGV[1], 'COUNT', ARGV[2])
local answer, names, records = {page[1]}, {}, page[2]
for i = 1, #records, 2 do
  if records[i] ~= '\0v' then
    names[#names + 1] = records[i]
  end
end
for from = 1, #names, 500 do
  local times = redis.call('ZMSCORE', turn, unpack(names, from, math.min(from + 499, #names)))
  for n = 1, #times do
    names[names[from + n - 1]] = times[n] or ''
  end
end
for i = 1, #records, 2 do
  local head, after = string.match(records[i + 1], '^(%d+) (%d+)$')
  local first, behind = tonumber(head), tonumber(after)
  if head and records[i] ~= '\0v' and first < behind and behind < LARGEST and behind - first <= WIDEST then
    for _, value in ipairs({records[i], head, after, names[records[i]]}) do
      answer[#answer + 1] = value
    end
  end
end
return answer
