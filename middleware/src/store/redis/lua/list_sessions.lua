-- Purpose: tells the sessions of a user that live, and removes what is left of others.
--
-- KEYS, ARGV  as session.lua has them.
-- Reply    after the broken keys: how many were known and lived no more; then the sessions.

if #KEYS ~= 3 or #ARGV ~= 2 then
  return redis.error_reply('ERR list_sessions wants 3 KEYS and 2 ARGV')
end
local names, records, _, gone = find_all()
return told({ 0, gone }, names, records)
