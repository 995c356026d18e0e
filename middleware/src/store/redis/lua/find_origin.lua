-- Purpose: tells which sessions of an origin live and are young, a part of them in each call.
--
-- KEYS[1]  the origin's index, as create_session.lua keeps it.
-- ARGV[1]  what the names of all records begin with: the user, a brace, a colon and the id's digits follow.
-- ARGV[2]  the same for the epochs: the user and a brace follow.
-- ARGV[3]  below which age a session is young, microseconds.
-- ARGV[4]  how many of the index earlier calls have looked at, the newest first.
-- Reply    how many broken keys were dropped, and how many of the index this call looked at, at most 250; then of each session the
--          bytes of its id and the user, in one text.
--
-- Invariant: it reads sessions as session.lua does, and writes none. Records and epochs that are broken are no sessions, and
-- are left to the scripts of their user.

local SESSION, EPOCH = '\154\7', '\154\8'
local HEAD, TIMES, PLACES = 74, 41, '>I7I7I7I6I6'
local MOST, MOST_OF_ORIGIN = 250, 10000
local DIGITS = string.rep('%02x', 16)

local unpack_at, sub, min = struct.unpack, string.sub, math.min

if #KEYS ~= 1 or #ARGV ~= 4 then
  return redis.error_reply('ERR find_origin wants one KEY and 4 ARGV')
end
local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local within = tonumber(ARGV[3])

local function get(key, last)
  local value = read_value(key, last)
  return type(value) == 'string' and value or ''
end

local size = try('ZCARD', KEYS[1])
if is_refused(size) then
  call('ZCARD', KEYS[1])
end
if type(size) == 'table' then
  drop(KEYS[1])
  return { 1, 0 }
end
-- A search passes over one by one what came before, and the index is cut to so many by parts.
if tonumber(ARGV[4]) >= MOST_OF_ORIGIN then
  return { 0, 0 }
end

local oldest = '(' .. string.format('%.0f', now - within)
local members = call('ZRANGE', KEYS[1], '+inf', oldest, 'BYSCORE', 'REV', 'LIMIT', ARGV[4], MOST)
local reply = { 0, #members }
for _, member in ipairs(members) do
  -- A member that is none of ours.
  if #member < 17 then
    member = string.rep('\0', 17)
  end
  local name, user = string.format(DIGITS, string.byte(member, 1, 16)), sub(member, 17)
  local record = get(ARGV[1] .. user .. '}:' .. name, HEAD - 1)
  local epoch = get(ARGV[2] .. user .. '}', 26)
  local is_epoch = #epoch == 27 and sub(epoch, 1, 2) == EPOCH
  if #record == HEAD and is_epoch and sub(record, 1, 8) == SESSION .. sub(epoch, 9, 14) then
    local created, _, active, idle, absolute = unpack_at(PLACES, record, TIMES)
    created, active = min(created, now), min(active, now)
    if min(active + idle, created + absolute) > now and now - created < within then
      reply[#reply + 1] = member
    end
  end
end
return reply
