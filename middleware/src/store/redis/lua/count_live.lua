-- Purpose: tells how many sessions live, of all users.
--
-- KEYS     the indices of all that live, as session.lua keeps them.
-- Reply    how many broken keys were dropped, and the number.
--
-- Invariant: a session that was lost without a word counts until it would have ended.

local time = call('TIME')
local now = string.format('(%.0f', time[1] * 1000000 + time[2])
local broken, live = 0, 0
for _, set in ipairs(KEYS) do
  local many = try('ZCOUNT', set, now, '+inf')
  if is_refused(many) then
    call('ZCOUNT', set, now, '+inf')
  end
  if type(many) == 'table' then
    drop(set)
    broken = broken + 1
  else
    live = live + many
  end
end
return { broken, live }
