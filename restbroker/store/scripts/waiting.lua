#!lua flags=no-writes
-- Reads some of the jobs that waited in a queue at one moment, from any place among them, the oldest first.
--
-- KEYS: the queue's list
-- ARGV: how many jobs are known to have been pushed since that moment, rank of the first one to read (0 is the newest
--       of that moment), how many jobs at most, how many bytes, SHA-1 of the jobs of the lowest ranks (0, 1, …)
-- Returns: {how many were pushed since, rank of the first that was read, jobs…}; the jobs' ranks fall by one each.
--          Fewer once they have the bytes together, and at least one unless none of this rank or a lower one is left.
--          In the place of a job that alone has more bytes stands ''. {} if the newest of that moment is not found near
--          the place where it was: it was taken, or very many jobs were pushed.
-- What is pushed since shifts all of them alike, and what is taken from the end shifts none.
-- Sent twice: it only reads.

-- part: reading

local NEAR = 2000
local list = KEYS[1]
local known, rank, limit, bytes = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local marks = #ARGV - 4

local function is_newest(found, n)
  for i = 1, marks do
    if not found[n + i - 1] or redis.sha1hex(found[n + i - 1]) ~= ARGV[4 + i] then
      return false
    end
  end
  return true
end

local function pushed_since()
  if is_newest(redis.call('LRANGE', list, known, known + marks - 1), 1) then
    return known
  end
  for from = known + 1, known + NEAR, CHUNK do
    local found = redis.call('LRANGE', list, from, from + CHUNK + marks - 2)
    for n = 1, #found - marks + 1 do
      if is_newest(found, n) then
        return from + n - 1
      end
    end
    if #found < CHUNK + marks - 1 then
      return nil
    end
  end
end

local later = pushed_since()
if not later then
  return {}
end
rank = math.min(rank, redis.call('LLEN', list) - 1 - later)
local page = {later, rank}
fill(page, math.min(limit, rank + 1), bytes, 1, function(taken, count)
  local last = later + rank - taken
  return turned(redis.call('LRANGE', list, math.max(later, last - count + 1), last))
end)
-- Only the first comes whatever its size.
if page[3] and #page[3] > bytes then
  page[3] = ''
end
return page
