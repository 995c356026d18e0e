-- Purpose: tells how many sessions a user had, by the hour of their creation, this one and the 720 before it.
--
-- KEYS, ARGV  as session.lua has them.
-- Reply    after the broken keys: how many live, however old; how many expired, were ended, and were created in this hour and
--          the 24 before it.
--
-- Invariant: of the sessions of an hour those expired that neither were ended nor live. No count that was lost makes another
-- negative.

local DAY = 24

if #KEYS ~= 3 or #ARGV ~= 2 then
  return redis.error_reply('ERR count_sessions wants 3 KEYS and 2 ARGV')
end
local _, _, times = find_all()
local hour = floor(now / HOUR)
local live = {}
for _, created in ipairs(times) do
  local at = floor(created / HOUR)
  live[at] = (live[at] or 0) + 1
end

local size = try('HLEN', KEYS[3])
if is_refused(size) then
  call('HLEN', KEYS[3])
end
if is_error(size) or size > MOST_FIELDS then
  discard(KEYS[3])
  size = 0
end
local counts = { c = {}, t = {} }
for _, field in ipairs(size > 0 and call('HKEYS', KEYS[3]) or {}) do
  local of, at = counts[sub(field, 1, 1)], tonumber(sub(field, 2))
  if of and at and at <= hour and at >= hour - HOURS and call('HSTRLEN', KEYS[3], field) <= MOST_DIGITS then
    of[at] = max(tonumber(call('HGET', KEYS[3], field)) or 0, 0)
  end
end
local expired, ended, recent = 0, 0, 0
for at, many in pairs(counts.c) do
  expired = expired + max(many - (counts.t[at] or 0) - (live[at] or 0), 0)
  if at >= hour - DAY then
    recent = recent + many
  end
end
for _, many in pairs(counts.t) do
  ended = ended + many
end
return { broken, #times, expired, ended, recent }
