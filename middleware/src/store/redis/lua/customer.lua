-- Purpose: what the customers' scripts share; it stands before each of them.
--
-- A customer is a hash: `last_activity` and `first_activity` (milliseconds since 1970), `spend` (minor units, any
-- integer of 64 bits), `orders`, and `counted`: 12 bytes for each order or refund, the oldest first, at most 4,096. A
-- missing `first_activity` is the last one, missing `spend` and `orders` are 0, whoever wrote the hash.
-- Two sorted sets index the customers by last activity: KEYS[1] those who are VIPs, KEYS[2] the others.
--
-- Invariant: a hash written here is in exactly one index, with its last activity as the score; hash and index expire,
-- the index no sooner than the hash. Spend is exact: it is compared as text and added up by HINCRBY, never as a double.

local MOST = 2 ^ 53 - 1
local HIGHEST, LOWEST = '9223372036854775807', '-9223372036854775808'
local KEY, MOST_COUNTED = 12, 4096
local MOMENT, AMOUNT = 16, 20 -- digits

local max, min = math.max, math.min
local broken = 0

local function digits(number)
  return string.format('%.0f', number)
end

-- A count or a moment; nothing for any other text.
local function whole(text)
  local number = type(text) == 'string' and #text <= MOMENT and text:match('^%d+$') and tonumber(text)
  return number and number <= MOST and number or nil
end

-- Whether one integer of 64 bits, as text, is more than another.
local function above(a, b)
  local a_below, b_below = a:byte() == 45, b:byte() == 45
  if a == b or a_below ~= b_below then
    return b_below and not a_below
  end
  if #a ~= #b then
    return (#a > #b) ~= a_below
  end
  return (a > b) ~= a_below
end

-- An amount; nothing for a text that HINCRBY would not take.
local function integer(text)
  local is = text == '0' or (#text <= AMOUNT and text:match('^%-?[1-9]%d*$'))
  return is and not above(text, HIGHEST) and not above(LOWEST, text) and text or nil
end

-- The bytes of a field; an error where the key is no hash.
local function size_of(key, field)
  local size = try('HSTRLEN', key, field)
  if is_refused(size) then
    call('HSTRLEN', key, field)
  end
  return size
end

-- Whether a key holds no hash, or one with a field that is longer than a customer's.
local function is_other(key)
  local last = size_of(key, 'last_activity')
  return is_error(last) or last > MOMENT or size_of(key, 'first_activity') > MOMENT or size_of(key, 'spend') > AMOUNT
    or size_of(key, 'orders') > MOMENT
end

-- What is known of a customer; then whether the key holds something else, which is counted.
local function read(key)
  if is_other(key) then
    broken = broken + 1
    return nil, true
  end
  local fields = call('HMGET', key, 'last_activity', 'first_activity', 'spend', 'orders')
  if not (fields[1] or fields[2] or fields[3] or fields[4]) then
    return nil, false
  end
  local last = whole(fields[1])
  local first = fields[2] and whole(fields[2]) or not fields[2] and last
  local spend = integer(fields[3] or '0')
  local orders = whole(fields[4] or '0')
  if not (last and first and spend and orders) then
    broken = broken + 1
    return nil, true
  end
  return { last = last, first = first, spend = spend, orders = orders }, false
end

-- An index that is no sorted set, which is replaced when it is next written.
local no_index = {}
for i = 1, 2 do
  local kind = call('TYPE', KEYS[i]).ok
  no_index[i] = kind ~= 'zset' and kind ~= 'none'
end

-- As `drop`. A script that has written is refused nothing more, so a server out of memory must refuse before.
local function discard(key)
  local answer = try('APPEND', key, '')
  if type(answer) == 'table' and answer.err:find('^OOM') then
    call('APPEND', key, '')
  end
  drop(key)
end

-- When a key remembers that a customer was erased; what is no moment goes.
local function erased_until(key)
  local text = read_value(key, MOMENT)
  local moment = whole(text)
  if text and not moment then
    broken = broken + 1
    discard(key)
  end
  return moment or -1
end

-- Removes a customer's hash; whether there was anything.
local function forget(key)
  local fields, is_foreign = 0, is_other(key) or size_of(key, 'counted') > MOST_COUNTED * KEY
  if not is_foreign then
    for _, field in ipairs({ 'last_activity', 'first_activity', 'spend', 'orders', 'counted' }) do
      fields = fields + (size_of(key, field) > 0 and 1 or 0)
    end
    is_foreign = call('HLEN', key) > fields
  end
  if is_foreign then
    drop(key)
    return true
  end
  return call('UNLINK', key) > 0
end

-- Files a customer where spend and orders say. What a server out of memory refuses comes first, here and below, so that
-- it refuses the whole.
local expires = {}
local function file(id, customer, vip_spend, vip_orders, retention)
  local is_vip = above(customer.spend, vip_spend) or customer.orders > vip_orders
  local right = is_vip and 1 or 2
  if no_index[right] then
    discard(KEYS[right])
    no_index[right] = false
    broken = broken + 1
  end
  call('ZADD', KEYS[right], digits(customer.last), id)
  if not expires[right] then
    if call('PTTL', KEYS[right]) < tonumber(retention) then
      call('PEXPIRE', KEYS[right], retention)
    end
    expires[right] = true
  end
  if not no_index[3 - right] then
    call('ZREM', KEYS[3 - right], id)
  end
end

