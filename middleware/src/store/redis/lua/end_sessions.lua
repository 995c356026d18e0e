-- Purpose: ends all sessions of a user but one, and overtakes every login that began before.
--
-- KEYS     as session.lua has them.
-- ARGV     as session.lua has them, then
--   [3]    the digits of the id that is kept, or nothing.
--   [4]    6 bytes, below 2^47: what a new epoch is born at.
-- Reply    after the broken keys: the sessions that lived, were known and ended.
--
-- Invariant: the epoch has moved on, or is a new one that has moved on since its birth. No session has it but the kept one, if
-- that lived.

if #KEYS ~= 3 or #ARGV ~= 4 or #ARGV[4] ~= 6 then
  return redis.error_reply('ERR end_sessions wants 3 KEYS, an id or nothing, and 6 bytes')
end
local keep = ARGV[3]

local kept = keep ~= '' and find(keep) or nil
local names, records, times = find_all()
local ended, of, created = {}, {}, {}
for i, name in ipairs(names) do
  if name ~= keep then
    ended[#ended + 1], of[#of + 1], created[#created + 1] = name, records[i], times[i]
  end
end
finish(ended, created)

local random = unpack_at('>I6', ARGV[4])
epoch = epoch or { birth = random, counter = random, ended = 0, kept = 0 }
epoch.counter, epoch.ended = epoch.counter + 1, max(epoch.ended, now)
write_epoch(now)
if kept then
  write(keep, SESSION .. pack('>I6', epoch.counter) .. sub(kept, 9))
end
return told({ 0 }, ended, of)
