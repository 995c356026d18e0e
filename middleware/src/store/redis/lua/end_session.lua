-- Purpose: ends a session.
--
-- KEYS     as session.lua has them.
-- ARGV     as session.lua has them, then
--   [3]    the id's digits.
-- Reply    after the broken keys: the session, if it lived.
--
-- Invariant: afterwards the session does not live, also one that no index knew; it counts as ended once.

if #KEYS ~= 3 or #ARGV ~= 3 or #ARGV[3] ~= 32 then
  return redis.error_reply('ERR end_session wants 3 KEYS and an id')
end
local name = ARGV[3]
local record, created = find(name)
if not record then
  return { broken }
end
finish({ name }, { created })
return told({ 0 }, { name }, { record })
