-- Purpose: counts a batch of failed requests by exact sliding windows on Redis TIME, and tells which are incidents.
--
-- KEYS[1]  the ledger of the failures (ledger.lua).
-- KEYS[2…] one trail for each failure of each kind that counts it, in the order of the failures.
-- ARGV[1]  what is counted, 8 bytes each, big-endian, in the order of KEYS[2…]:
--            threshold  2 bytes: which failure of a window is suspicious, 1 to 1000
--            window     5 bytes, microseconds, 1 s to 24 h
--            route      1 byte: the route's place after ARGV[2], from 0
-- ARGV[2]  the bytes that all trails may take.
-- ARGV[3…] the routes, at most 255 bytes each.
-- Reply    how many broken trails were dropped; then for each incident its place in KEYS[2…] from 0, the failures of its
--          episode, the microseconds from the first of them to this one, the number of routes, and the routes. The same
--          with 0 failures and no route for a failure that was not counted: its trail would be new and there is no room.
--
-- A trail is the two bytes 9A 02; when its episode was last reported (7 bytes, microseconds of TIME; 0 without an
-- episode), when the episode's first failure was (7 bytes, the same), its failures (5 bytes); the size of the routes
-- (2 bytes) and the routes, each after its length (1 byte), the latest last; then one stamp for each of the newest
-- failures, oldest first: five bytes, big-endian, microseconds of TIME modulo 2^40 (12.7 days).
--
-- Invariant: an episode begins with the failure that makes the count in its window (t-w, t] reach the threshold, and
-- ends when fewer than half the threshold are left there; the first of these is an incident, and then the first
-- failure a window or more after the last incident. Everything is counted before anything is written, and whatever
-- is written expires no sooner than its newest stamp leaves the window. Of a key no more is read than a trail can be.

local MAGIC = 0x9a02
local PLAN = 8
local HEADER = 23
local MOST_ROUTES = 8
local MOST_STAMPS = 1000
local MOST_BYTES = HEADER + MOST_ROUTES * 256 + MOST_STAMPS * 5

local plan, keys, budget = ARGV[1], #KEYS - 1, tonumber(ARGV[2])
if keys < 1 or keys > 1000 or #ARGV < 3 or not budget or #plan ~= keys * PLAN then
  return redis.error_reply('ERR count_failures wants a ledger and 1 to 1000 KEYS, one ARGV of 8 bytes for each, a budget, '
    .. 'and routes')
end

local ledger = open_ledger(KEYS[1], budget, ceil(now / 1000))
local reply = { 0 }

local made

-- Stamps in the future, left by a clock that stepped back, become `now`.
local function mended(stamps)
  made = made or string.rep(stamp, MOST_STAMPS)
  local past = 5 * before(0, stamps, 5)
  return sub(stamps, 1, past) .. sub(made, past + 1, #stamps)
end

-- What was read of a trail; nothing for what is no trail of ours, which is then written anew.
local function parse(value)
  if type(value) ~= 'string' or #value < HEADER then
    return
  end
  local magic, reported, first, total, size = unpack_at('>I2I7I7I5I2', value)
  local stamps = HEADER + size + 1
  local held = (#value - stamps + 1) / 5
  if magic ~= MAGIC or held < 1 or held > MOST_STAMPS or held ~= floor(held) then
    return
  end
  local routes, at = {}, HEADER + 1
  while at < stamps and #routes <= MOST_ROUTES do
    local length = value:byte(at)
    routes[#routes + 1] = sub(value, at + 1, at + length)
    at = at + 1 + length
  end
  if at ~= stamps or #routes > MOST_ROUTES then
    return
  end
  local trail = { reported = reported, first = first, total = total, routes = routes, stamps = sub(value, stamps) }
  if age(trail.stamps, 5 * held - 4) < 0 then
    trail.stamps = mended(trail.stamps)
    trail.reported, trail.first = min(reported, now), min(first, now)
  end
  return trail
end

local function read(key)
  local value = read_value(key, MOST_BYTES)
  local trail = parse(value)
  if not trail then
    if value then
      reply[1] = reply[1] + 1
    end
    trail = {
      reported = 0, first = 0, total = 0, routes = {}, stamps = '', dropped = value,
      refused = not value and not has_room(ledger),
    }
  end
  trail.size = type(value) == 'string' and #value
  return trail
end

local function remember(routes, route)
  for i = #routes, 1, -1 do
    if routes[i] == route then
      table.remove(routes, i)
    end
  end
  if #routes == MOST_ROUTES then
    table.remove(routes, 1)
  end
  routes[#routes + 1] = route
end

-- Counts a failure; whether it is an incident.
local function count(trail, threshold, window, route)
  local stamps, size = trail.stamps, #trail.stamps
  local from = size + 1
  if size > 0 and age(stamps, size - 4) < window then
    from = age(stamps, 1) < window and 1 or 5 * before(window, stamps, 5) + 1
  end
  local held = (size - from + 1) / 5
  if held * 2 < threshold then
    trail.reported = 0
  end
  if held == 0 then
    trail.routes = {}
  end
  remember(trail.routes, route)
  local first = held > 0 and now - age(stamps, from) or now
  -- As many as the threshold tell exactly whether so many, or half as many, lie in the window.
  from = max(from, size + 6 - 5 * threshold)
  trail.stamps = sub(stamps, from) .. stamp
  trail.window = window
  if trail.reported > 0 then
    trail.total = min(trail.total + 1, SPAN - 1)
    if now - trail.reported < window then
      return false
    end
  elseif held + 1 < threshold then
    return false
  else
    trail.first, trail.total = first, held + 1
  end
  trail.reported = now
  return true
end

local trails, order = {}, {}
for i = 1, keys do
  local key = KEYS[i + 1]
  local trail = trails[key]
  if not trail then
    trail = read(key)
    trails[key] = trail
    order[#order + 1] = key
  end
  local threshold, window, place = unpack_at('>I2I5B', plan, (i - 1) * PLAN + 1)
  local route = ARGV[place + 3]
  if not route then
    return redis.error_reply('ERR count_failures misses a route')
  end
  if trail.size and not trail.window and trail.stamps ~= '' then
    trail.was = trail_until(now - age(trail.stamps, #trail.stamps - 4), window, key, trail.size)
  end
  if trail.refused then
    for _, number in ipairs({ i - 1, 0, 0, 0 }) do
      reply[#reply + 1] = number
    end
  elseif count(trail, threshold, window, route) then
    reply[#reply + 1] = i - 1
    reply[#reply + 1] = trail.total
    reply[#reply + 1] = now - trail.first
    reply[#reply + 1] = #trail.routes
    for _, known in ipairs(trail.routes) do
      reply[#reply + 1] = known
    end
  end
end

for _, key in ipairs(order) do
  local trail, routes = trails[key], {}
  if not trail.refused then
    if trail.dropped then
      drop(key)
    end
    for i, route in ipairs(trail.routes) do
      routes[i] = pack('B', #route) .. route
    end
    routes = table.concat(routes)
    local header = pack('>I2I7I7I5I2', MAGIC, trail.reported, trail.first, trail.total, #routes)
    local value = header .. routes .. trail.stamps
    call('SET', key, value, 'PXAT', string.format('%.0f', expiry_of(now, trail.window)))
    enter(ledger, trail.was, trail_until(now, trail.window, key, #value))
  end
end
write_ledger(ledger)

reply[1] = reply[1] + ledger.broken
return reply
