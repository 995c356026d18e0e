-- Purpose: applies changes of customers in their order, each whole or not at all.
--
-- KEYS     the two indices; then for each change the customer's hash and the key that remembers an erasure.
-- ARGV[1]  for how long a record is kept, milliseconds
-- ARGV[2]  who spent more than this is a VIP, minor units
-- ARGV[3]  who ordered more often than this is a VIP
-- ARGV[4…] for each change: the customer's id; the moment, milliseconds since 1970; what happened (a an activity, o an
--          order, r a refund); what it adds to spend, minor units; the order's or the refund's key, 12 bytes.
-- Reply    how many keys held something else; then for each change whether it counted (1 or 0), and the customer after
--          it: first and last activity (-1 for who is not known), orders, and spend as text.
--
-- Invariant: an order or a refund counts once as long as its key is among the newest 4,096; what happened no later than
-- an erasure that is still remembered changes nothing. Spend that leaves 64 bits stays at their end.

local CHANGE = 5

local retention, vip_spend, vip_orders = ARGV[1], ARGV[2], whole(ARGV[3])
local changes = (#KEYS - 2) / 2
if #ARGV ~= 3 + changes * CHANGE or not (whole(retention) and integer(vip_spend) and vip_orders) then
  return redis.error_reply('ERR apply_change wants two indices, two KEYS and five ARGV for each change, and three before')
end

local function is_counted(counted, key)
  local at = counted:find(key, 1, true)
  while at do
    if (at - 1) % KEY == 0 then
      return true
    end
    at = counted:find(key, at + 1, true)
  end
  return false
end

-- The keys of what was counted; then whether the field is longer than they can be.
local function keys_of(key)
  local size = size_of(key, 'counted')
  if size % KEY ~= 0 or size > MOST_COUNTED * KEY then
    broken = broken + 1
    return '', size > MOST_COUNTED * KEY
  end
  return call('HGET', key, 'counted') or '', false
end

local function add(key, amount)
  local sum = try('HINCRBY', key, 'spend', amount)
  if type(sum) ~= 'number' then
    sum = amount:byte() == 45 and LOWEST or HIGHEST
    call('HSET', key, 'spend', sum)
    return sum
  end
  -- Lua's numbers hold no more than 53 bits.
  return call('HGET', key, 'spend')
end

-- The customer after a change, and whether it counted.
local function apply(key, erased, id, at, kind, amount, order)
  local known, is_foreign = read(key)
  if at <= erased_until(erased) then
    return known, 0
  end
  local customer = known or { last = at, first = at, spend = '0', orders = 0 }
  if kind ~= 'r' then
    customer.last, customer.first = max(customer.last, at), min(customer.first, at)
  end
  local fresh, counted = true, nil
  if kind ~= 'a' then
    counted = ''
    if known then
      counted, is_foreign = keys_of(key)
    end
    fresh = not is_counted(counted, order)
  end
  if is_foreign then
    discard(key)
  end
  local counts = counted and fresh
  if counts and kind == 'o' then
    customer.orders = min(customer.orders + 1, MOST)
  end
  call('HSET', key, 'last_activity', digits(customer.last), 'first_activity', digits(customer.first),
    'spend', customer.spend, 'orders', digits(customer.orders))
  call('PEXPIRE', key, retention)
  if counts then
    call('HSET', key, 'counted', counted:sub(max(1, #counted - (MOST_COUNTED - 1) * KEY + 1)) .. order)
    customer.spend = add(key, amount)
  end
  file(id, customer, vip_spend, vip_orders, retention)
  return customer, fresh and 1 or 0
end

local plan = {}
for i = 1, changes do
  local from = 3 + (i - 1) * CHANGE
  local at, kind, amount, order = whole(ARGV[from + 2]), ARGV[from + 3], ARGV[from + 4], ARGV[from + 5]
  local fits = kind == 'a' or ((kind == 'o' or kind == 'r') and integer(amount) and #order == KEY)
  if not (at and fits) then
    return redis.error_reply('ERR apply_change wants an id, a moment, a, o or r, an amount and a key of 12 bytes')
  end
  plan[i] = { ARGV[from + 1], at, kind, amount, order }
end

local reply = { 0 }
for i, change in ipairs(plan) do
  local customer, fresh = apply(KEYS[1 + 2 * i], KEYS[2 + 2 * i], change[1], change[2], change[3], change[4], change[5])
  reply[#reply + 1] = fresh
  reply[#reply + 1] = customer and customer.first or -1
  reply[#reply + 1] = customer and customer.last or -1
  reply[#reply + 1] = customer and customer.orders or 0
  reply[#reply + 1] = customer and customer.spend or '0'
end
reply[1] = broken
return reply
