-- Purpose: counts, for each visitor of a funnel, the first reach of each stage in a window, in order, on Redis TIME.
--
-- KEYS[1]  the ledger of the visitors (ledger.lua).
-- KEYS[2…] one journey for each reach, in the order of the reaches.
-- ARGV[1]  the window, 1 minute to 30 days, in microseconds.
-- ARGV[2]  the reaches, 6 bytes each, big-endian, in the order of KEYS:
--            stage  1 byte: the stage's place in the funnel, 0 to 15
--            age    5 bytes, microseconds: how long ago, at most 30 s
-- ARGV[3]  the bytes that all journeys may take.
-- Reply    how many broken journeys were dropped; then for each reach how many stages were counted before it and how
--          many are now, the microseconds to the end of the visitor's window (0 without one), and for each stage that
--          it made count the microseconds since the stage before (0 for stage 0). Instead of all that 255, where the
--          journey would be new and there is no room.
--
-- A journey is the two bytes 9A 05; how many stages are counted (1 byte: always the first ones); the earliest moment
-- that can count (7 bytes): the start of the window, or without one the end of the last; and for each stage from 1 on
-- when it was counted, or else when it was last reached (7 bytes; 0 for never). Moments are microseconds of TIME.
--
-- Invariant: windows of a visitor never overlap. In a window each stage counts at most once, and stage k only at a
-- moment in the window and not before that of stage k-1. Everything is counted before anything is written, nothing is
-- written for a reach that changes nothing, and whatever is written expires a minute after its window, or without one
-- after a minute, when no reach can be so old any more that it would be changed by it. Of a key no more is read than a
-- journey can be.

local MAGIC = 0x9a05
local HEADER, MOMENT = 10, 7
local PLAN = 6
local STAGES = 16
local REFUSED = 255
local OLDEST = 30 * 1000000
local MOST_BYTES = HEADER + (STAGES - 1) * MOMENT
local KEPT_MS = 60000

local window, plan, keys, budget = tonumber(ARGV[1]), ARGV[2], #KEYS - 1, tonumber(ARGV[3])
if keys < 1 or not budget or keys > 1000 or not window or window < 60000000 or window > 2592000000000 or #plan ~= keys * PLAN then
  return redis.error_reply('ERR reach_stage wants a ledger and 1 to 1000 KEYS, a window of 1m to 30d, 6 bytes for each key, and a '
    .. 'budget')
end

local now_ms = ceil(now / 1000)
local ledger = open_ledger(KEYS[1], budget, now_ms)
local reply = { 0 }

-- What the ledger holds of a journey whose value has this size.
local function slot(key, size, counted, floor)
  if counted > 0 then
    local kept = window / 1000 + KEPT_MS
    return key_until(ceil(floor / 1000) + kept, kept, #key + size)
  end
  return key_until(now_ms + KEPT_MS, KEPT_MS, #key + size)
end

-- What was read of a journey; nothing for what is none of ours, which is then written anew.
local function parse(value)
  if type(value) ~= 'string' or #value < HEADER or (#value - HEADER) % MOMENT ~= 0 then
    return
  end
  local later = (#value - HEADER) / MOMENT
  local magic, counted, floor = unpack_at('>I2BI7', value)
  if magic ~= MAGIC or later >= STAGES or counted > later + 1 then
    return
  end
  -- A clock that stepped back leaves moments of the future, which would keep the visitor waiting for them.
  local journey = { counted = counted, floor = min(floor, now) }
  for stage = 1, later do
    journey[stage] = min(unpack_at('>I7', value, HEADER + 1 + (stage - 1) * MOMENT), now)
  end
  return journey
end

local function read(key)
  local value = read_value(key, MOST_BYTES)
  local journey = parse(value)
  if not journey then
    if value then
      reply[1] = reply[1] + 1
    end
    journey = {
      counted = 0, floor = 0, dropped = value, refused = not value and not has_room(ledger),
    }
  elseif journey.counted > 0 then
    journey.was = slot(key, #value, journey.counted, journey.floor)
  end
  return journey
end

-- The time from the last counted stage to the next one, if that counts too.
local function next_step(journey)
  local counted = journey.counted
  local next = journey[counted]
  if counted == 0 or not next or next >= journey.floor + window then
    return
  end
  local last = counted == 1 and journey.floor or journey[counted - 1]
  if next >= last then
    return next - last
  end
end

-- How many stages were counted before, and the steps of those that count now.
local function reach(journey, stage, at)
  if journey.counted > 0 and at >= journey.floor + window then
    journey.floor = journey.floor + window
    journey.counted = 0
  end
  local before, steps = journey.counted, {}
  if at < journey.floor or stage < before then
    return before, steps
  end
  if stage == 0 then
    journey.floor = at
    journey.counted = 1
    steps[1] = 0
    journey.changed = true
  else
    for missing = #journey + 1, stage do
      journey[missing] = 0
    end
    if at > journey[stage] then
      journey[stage] = at
      journey.changed = true
    end
  end
  local step = next_step(journey)
  while step do
    journey.counted = journey.counted + 1
    journey.changed = true
    steps[#steps + 1] = step
    step = next_step(journey)
  end
  return before, steps
end

local journeys, order = {}, {}
for i = 1, keys do
  local key = KEYS[i + 1]
  local journey = journeys[key]
  if not journey then
    journey = read(key)
    journeys[key] = journey
    order[#order + 1] = key
  end
  local stage, ago = unpack_at('>BI5', plan, (i - 1) * PLAN + 1)
  if stage >= STAGES then
    return redis.error_reply('ERR reach_stage wants stages below 16')
  end
  if journey.refused then
    reply[#reply + 1] = REFUSED
  else
    local before, steps = reach(journey, stage, now - min(ago, OLDEST))
    reply[#reply + 1] = before
    reply[#reply + 1] = journey.counted
    reply[#reply + 1] = journey.counted > 0 and max(journey.floor + window - now, 0) or 0
    for _, step in ipairs(steps) do
      reply[#reply + 1] = step
    end
  end
end

for _, key in ipairs(order) do
  local journey = journeys[key]
  if journey.changed then
    if journey.dropped then
      drop(key)
    end
    local moments = {}
    for stage, moment in ipairs(journey) do
      moments[stage] = pack('>I7', moment)
    end
    local left = journey.counted > 0 and ceil((journey.floor + window - now) / 1000) or 0
    local value = pack('>I2BI7', MAGIC, journey.counted, journey.floor) .. table.concat(moments)
    call('SET', key, value, 'PX', string.format('%.0f', left + KEPT_MS))
    enter(ledger, journey.was, slot(key, #value, journey.counted, journey.floor))
  end
end
write_ledger(ledger)

reply[1] = reply[1] + ledger.broken
return reply
