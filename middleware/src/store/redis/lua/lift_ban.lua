-- Purpose: ends a client's ban on Redis TIME, and forgets its offences and what counts towards the next.
--
-- KEYS[1]  the client's ban, as impose_ban.lua keeps it.
-- KEYS[2]  the index of all bans.
-- KEYS[3…] the client's trails, as impose_ban.lua keeps them.
-- ARGV[1]  the client, as the index names it.
-- Reply    how many broken keys were met, and 1 if the client was banned, else 0.
--
-- Invariant: afterwards there is nothing of the client's ban, in the index neither, and nothing that counts towards one.

local MAGIC = 0x9a03
local RECORD = 19

local call, try = redis.call, redis.pcall

if #KEYS < 2 or #ARGV < 1 then
  return redis.error_reply('ERR lift_ban wants a ban, an index, trails, and a client')
end

local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local broken, banned = 0, 0

local value = try('GET', KEYS[1])
if type(value) == 'string' and #value == RECORD and struct.unpack('>I2', value) == MAGIC then
  if struct.unpack('>I7', value, 3) > now then
    banned = 1
  end
elseif value then
  broken = 1
end

call('DEL', KEYS[1])
for place = 3, #KEYS do
  call('DEL', KEYS[place])
end
if type(try('ZREM', KEYS[2], ARGV[1])) == 'table' then
  broken = broken + 1
  call('DEL', KEYS[2])
end

return { broken, banned }
