-- Purpose: checks index entries against the customers they name, mends them, and counts the population.
--
-- KEYS     the two indices; then for each entry the customer's hash.
-- ARGV[1]  for how long a record is kept, milliseconds
-- ARGV[2]  who spent more than this is a VIP, minor units
-- ARGV[3]  who ordered more often than this is a VIP
-- ARGV[4]  who was last active at this moment or earlier has churned, milliseconds since 1970
-- ARGV[5]  who was last active at this moment or earlier is at risk, or has churned
-- ARGV[6…] for each entry the customer's id.
-- Reply    how many keys held something else; how many entries were mended or dropped; the VIPs; the others; the others
--          who have churned; the others who are at risk or have churned.
--
-- Invariant: an entry whose hash has gone is dropped, any other is filed as apply_change would.

local retention, vip_spend, vip_orders, churned, at_risk = ARGV[1], ARGV[2], whole(ARGV[3]), ARGV[4], ARGV[5]
if #ARGV ~= #KEYS + 3 or not (whole(retention) and integer(vip_spend) and vip_orders) then
  return redis.error_reply('ERR check_customers wants two indices, a hash and an id for each entry, and five ARGV')
end

local function score(i, id)
  return not no_index[i] and tonumber(call('ZSCORE', KEYS[i], id) or nil) or nil
end

local mended = 0
for i = 3, #KEYS do
  local id, customer = ARGV[i + 3], read(KEYS[i])
  local held = { score(1, id), score(2, id) }
  local is_vip = customer and (above(customer.spend, vip_spend) or customer.orders > vip_orders)
  local right = is_vip and 1 or 2
  if not customer then
    local dropped = 0
    for index = 1, 2 do
      dropped = max(dropped, no_index[index] and 0 or call('ZREM', KEYS[index], id))
    end
    mended = mended + dropped
  elseif held[right] ~= customer.last or held[3 - right] then
    file(id, customer, vip_spend, vip_orders, retention)
    mended = mended + 1
  end
end

local function count(i, to)
  return no_index[i] and 0 or call('ZCOUNT', KEYS[i], '-inf', to)
end
return { broken, mended, count(1, '+inf'), count(2, '+inf'), count(2, churned), count(2, at_risk) }
