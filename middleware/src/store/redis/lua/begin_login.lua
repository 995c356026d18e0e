-- Purpose: tells the epoch of a user, before credentials are checked.
--
-- KEYS, ARGV  as session.lua has them.
-- Reply    after the broken keys: the epoch's counter, if there is one.
--
-- Invariant: nothing is made, since anybody may begin a login for any name.

if #KEYS ~= 3 or #ARGV ~= 2 then
  return redis.error_reply('ERR begin_login wants 3 KEYS and 2 ARGV')
end
return { broken, epoch and epoch.counter or nil }
