-- Purpose: tells whether a claim proves a session that lives, notes its activity, and changes its secret.
--
-- KEYS     as session.lua has them.
-- ARGV     as session.lua has them, then
--   [3]    the id's digits.
--   [4]    the hash of the secret, 32 bytes.
--   [5]    from which age on activity is noted, microseconds; nothing: it is not.
--   [6]    the hash of the next secret; nothing: it stays.
--   [7]    1 if the user has just logged in again.
--   [8]    the level of assurance from now on, 1 byte; nothing: it stays.
-- Reply    after the broken keys: 0 if no such session lives, 1 if it has another secret, 2 if it is proved;
--          then how long it lives yet without activity, microseconds, and the session.
--
-- Invariant: another secret proves nothing and notes nothing. The old secret is worth nothing as soon as the next is kept.
-- Activity is noted at most once in each such age, and files the session where its index was lost. A server out of memory
-- notes none, and the session is proved all the same. A change of the secret is no activity.

local GONE, ROTATED, PROVED = 0, 1, 2

if #KEYS ~= 3 or #ARGV ~= 8 or #ARGV[3] ~= 32 or #ARGV[4] ~= 32 then
  return redis.error_reply('ERR prove_session wants 3 KEYS, an id, a hash, and four more ARGV')
end
local name, proof, next_proof = ARGV[3], ARGV[4], ARGV[6]

local record = find(name)
if not record then
  return { broken, GONE }
end
if sub(record, 9, 40) ~= proof then
  return { broken, ROTATED }
end
local touch_every = tonumber(ARGV[5])
if touch_every and now - unpack_at('>I7', record, 55) >= touch_every then
  local touched = sub(record, 1, 54) .. pack('>I7', now) .. sub(record, TAIL)
  if has_room(name, record) then
    record = touched
    write(name, record)
  end
end
if next_proof ~= '' then
  local authenticated = ARGV[7] == '1' and pack('>I7', now) or sub(record, 48, 54)
  local level = ARGV[8] ~= '' and ARGV[8] or sub(record, HEAD, HEAD)
  record = sub(record, 1, 8) .. next_proof .. sub(record, 41, 47) .. authenticated .. sub(record, 55, HEAD - 1) .. level
    .. sub(record, HEAD + 1)
  write(name, record)
end
local created, _, active, idle, absolute = unpack_at(PLACES, record, TIMES)
local left = min(active + idle, created + absolute) - now
return told({ 0, PROVED, left }, { name }, { record })
