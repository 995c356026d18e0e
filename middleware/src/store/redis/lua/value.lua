-- Purpose: what the scripts share that must bear anything at a key; stands after refused.lua.
--
-- Invariant: of a string no more is read than one of ours has, and nothing that may be long is freed before the call ends.

local AT_ONCE = 65536 -- bytes of a string that a call may free
local FEW = 64 -- elements; the server frees what has more on another thread
local LINGERS_MS = 1000

local call, try = redis.call, redis.pcall

local function is_error(answer)
  return type(answer) == 'table' and answer.err ~= nil
end

-- What a key holds, but of a string no more than a byte above `most`; an error for a value of another type, false for nothing.
local function read_value(key, most)
  local value = try('GETRANGE', key, '0', string.format('%.0f', most))
  if is_refused(value) then
    call('GETRANGE', key, '0', '0')
  end
  return value ~= '' and value
end

-- Whether the server frees a value before it goes on, and it may be long.
local function is_long(key)
  local kind = call('TYPE', key).ok
  if kind == 'string' then
    return call('STRLEN', key) > AT_ONCE
  elseif kind == 'hash' then
    return call('HLEN', key) <= FEW
  end
  return kind == 'zset' and call('ZCARD', key) <= FEW
end

-- Removes what is none of ours. What may be long gets a name that nobody can have taken, and expires after the call.
local function drop(key)
  if is_long(key) then
    local time = try('TIME')
    local other = key .. ':dropped:' .. time[1] .. '.' .. time[2]
    call('RENAME', key, other)
    call('PEXPIRE', other, LINGERS_MS)
  else
    call('UNLINK', key)
  end
end

