#!lua flags=allow-oom
-- Mends a part of a queue's lines, in case someone deleted something of them by hand: each job is in a line again, and
-- each line has its turn.
--
-- KEYS: the queue's `wait`, `keys` and `turn` (see parts/lines.lua)
-- ARGV: 'records' or 'jobs', cursor ('0' begins), about how many are looked at, what the target says of its fairness
--       (JSON), how many bytes a job may have of which a key is read
-- Returns: {next cursor ('0': that was all), how many were mended, bytes of jobs that were read}
-- Sent twice: the second finds nothing to mend.

local part, cursor, count, fairness, limit_bytes = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])

-- part: lines

local lines = fair_lines(fairness, limit_bytes)
if part == 'records' then
  return lines.heal_records(KEYS[1], KEYS[2], KEYS[3], cursor, count)
end
return lines.heal_jobs(KEYS[1], KEYS[2], KEYS[3], cursor, count)
