#!lua flags=no-writes
-- Tells whether this user may send a command; it is not sent.
--
-- ARGV: the command's name
-- Returns: 1 | 0
-- Sent twice: it changes nothing.

return redis.acl_check_cmd(ARGV[1]) and 1 or 0
