-- Purpose: counts distinct items (accounts of a network, networks of an account) by exact sliding windows on Redis TIME, and
--          tells which of them are incidents and which trails are in an episode.
--
-- KEYS[1]  the ledger of the failures (ledger.lua).
-- KEYS[2…] of each step its trail, and after it the sketch where the step names one, in the order of the steps.
-- ARGV[1]  the steps, 16 bytes each, big-endian:
--            what       1 byte:  1  count the item in the trail; names a sketch
--                                2  is the trail, one of count_failures.lua, in an episode?
--                                3  is the trail, one of this script, in an episode?
--                                4  as 1, if a step 2 or 3 since the last step 1, 4 or 5 said yes; names a sketch
--                                5  the state of the trail, which is not changed; names a sketch
--            threshold  2 bytes: which distinct item of a window is suspicious, 1 to 64 (of step 2: 1 to 1000)
--            window     5 bytes, microseconds, 1 s to 24 h
--            item       8 bytes of a hash
-- ARGV[2]  the bytes that all trails and sketches may take.
-- Reply    how many broken trails were dropped; then for each incident, and for each step 5, its place in the steps from 0,
--          the distinct items of the episode (without one: of the window), the microseconds since the first of them, and
--          the sum of 1 if the number is an estimate (which holds later items of the call too) and 2 if there is an
--          episode. Three times 0 after the place of a step 1 or 4 that was not counted: its trail would be new and there is
--          no room.
--
-- A trail is the two bytes 9A 04; whether its episode has a sketch (1 byte); when its episode was last reported (7 bytes,
-- microseconds of TIME; 0 without an episode), when the first item of the episode was (7 bytes, the same); then the
-- newest distinct items, at most 64, by when they were last seen, the latest last: the item (8 bytes) and when (5 bytes,
-- big-endian, microseconds of TIME modulo 2^40). A sketch is a HyperLogLog of all items of the episode: it begins when the
-- first of them is kept no longer, so that up to then the number is exact.
--
-- Invariant: an item that is not kept was last seen before each that is, so min(64, distinct items in the window (t-w, t])
-- is exact. An episode begins with the item that makes that number reach the threshold, and ends when fewer than half the
-- threshold are left in the window; the first of these is an incident, and then the first item a window or more after the
-- last incident. Everything is counted before anything is written, and whatever is written expires no sooner than its
-- newest item leaves the window.

local MAGIC, FAILURES = 0x9a04, 0x9a02
local SPAN, HALF_SPAN = 2 ^ 40, 2 ^ 39
local STEP, HEADER, ENTRY, MOST = 16, 17, 13, 64
local FAILURES_HEADER = 23
local COUNT, IS_FAILING, IS_DISTINCT, COUNT_IF, STATE = 1, 2, 3, 4, 5
local SLACK_MS = 1000
local EVIDENCE = 140
-- Of a sketch up to some hundred items, with its key; a denser one takes 12 kB more.
local SKETCH = 600

local call, try = redis.call, redis.pcall
local pack, unpack_at, sub = struct.pack, struct.unpack, string.sub
local ceil, max, min = math.ceil, math.max, math.min

local plan = ARGV[1]
local steps = plan and #plan / STEP or 0
local named = 0
for i = 1, plan and #plan or 0, STEP do
  local what = plan:byte(i)
  if what < COUNT or what > STATE then
    return redis.error_reply('ERR count_distinct knows no such step')
  end
  named = named + ((what == IS_FAILING or what == IS_DISTINCT) and 1 or 2)
end
local budget = tonumber(ARGV[2])
if #ARGV ~= 2 or not budget or steps == 0 or steps ~= ceil(steps) or named ~= #KEYS - 1 or named > 2000 then
  return redis.error_reply('ERR count_distinct wants an ARGV of 16 bytes for each step and a budget, and a ledger and the 1 to '
    .. '2000 KEYS of the steps')
end

local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local now_stamp = now % SPAN
local ledger = open_ledger(KEYS[1], budget, ceil(now / 1000))
local broken = 0

-- When a stamp was made; one from the future, left by a clock that stepped back, is made now.
local function made(stamp)
  local age = (now_stamp - stamp) % SPAN
  return age < HALF_SPAN and now - age or now
end

-- What was read of a trail; nothing for what is no trail of ours, which is then written anew.
local function parse(value)
  if type(value) ~= 'string' or #value < HEADER or (#value - HEADER) % ENTRY ~= 0 then
    return
  end
  local magic, sketched, reported, first = unpack_at('>I2BI7I7', value)
  if magic ~= MAGIC then
    return
  end
  local items, seen = {}, {}
  for at = HEADER + 1, #value, ENTRY do
    items[#items + 1] = sub(value, at, at + 7)
    seen[#seen + 1] = made(unpack_at('>I5', value, at + 8))
  end
  return { items = items, seen = seen, sketched = sketched == 1, reported = min(reported, now), first = min(first, now) }
end

local trails = {}

local function read(key)
  local trail = trails[key]
  if not trail then
    -- A value of another type answers with an error, and SET replaces it.
    local value = try('GET', key)
    trail = parse(value)
    if not trail then
      broken = broken + (value and 1 or 0)
      trail = { items = {}, seen = {}, sketched = false, reported = 0, first = 0 }
    end
    trail.key, trail.added = key, {}
    trail.is_new, trail.size, trail.newest = not value, type(value) == 'string' and #value, trail.seen[#trail.seen]
    trail.had_sketch = trail.sketched
    trails[key] = trail
  end
  return trail
end

-- The place of the first item that lies in the window.
local function first_of(trail, window)
  local from = 1
  while from <= #trail.seen and now - trail.seen[from] >= window do
    from = from + 1
  end
  return from
end

local function is_in_episode(trail, threshold, window)
  local held = #trail.items - first_of(trail, window) + 1
  return trail.reported > 0 and held * 2 >= threshold
end

-- The same of a trail of count_failures.lua, which keeps as many failures as its threshold.
local function is_failing(key, threshold, window)
  local value = try('GET', key)
  if type(value) ~= 'string' or #value < FAILURES_HEADER then
    return false
  end
  local magic, reported, _, _, routes = unpack_at('>I2I7I7I5I2', value)
  local held, at = 0, #value - 4
  while at > FAILURES_HEADER + routes and now - made(unpack_at('>I5', value, at)) < window do
    held, at = held + 1, at - 5
  end
  return magic == FAILURES and reported > 0 and held * 2 >= threshold
end

-- Counts an item; whether it is an incident.
local function count(trail, threshold, window, item)
  local from = first_of(trail, window)
  local held = #trail.items - from + 1
  if held * 2 < threshold then
    trail.reported, trail.sketched, trail.begins, trail.added = 0, false, false, {}
  end
  local items, seen = {}, {}
  for i = from, #trail.items do
    if trail.items[i] ~= item then
      items[#items + 1], seen[#seen + 1] = trail.items[i], trail.seen[i]
    end
  end
  local overflows = #items == MOST
  if trail.reported > 0 and not trail.sketched and (from > 1 or overflows) then
    trail.sketched, trail.begins, trail.added = true, true, trail.items
  end
  if overflows then
    table.remove(items, 1)
    table.remove(seen, 1)
  end
  items[#items + 1], seen[#seen + 1] = item, now
  trail.items, trail.seen, trail.window, trail.changed = items, seen, window, true
  if trail.sketched then
    trail.added[#trail.added + 1] = item
  end
  if trail.reported > 0 then
    if now - trail.reported < window then
      return false
    end
  elseif #items < threshold then
    return false
  else
    trail.first = seen[1]
  end
  trail.reported = now
  return true
end

-- When a trail expires whose newest item was seen then, milliseconds.
local function expiry_of(newest, window)
  return ceil((newest + window) / 1000) + SLACK_MS
end

-- What the ledger holds of a trail, with what counts towards a ban for the same failures.
local function slot(trail, size, newest)
  return key_until(expiry_of(newest, trail.window), trail.window / 1000, #trail.key + size + EVIDENCE)
end

local told, order = {}, {}
local at, suspicious = 2, false
for step = 0, steps - 1 do
  local what, threshold, window, item = unpack_at('>BI2I5c8', plan, step * STEP + 1)
  local key, sketch = KEYS[at], KEYS[at + 1]
  if what == IS_FAILING then
    suspicious = suspicious or is_failing(key, threshold, window)
    at = at + 1
  elseif what == IS_DISTINCT then
    suspicious = suspicious or is_in_episode(read(key), threshold, window)
    at = at + 1
  else
    local trail = read(key)
    trail.sketch = sketch
    if what == STATE then
      local episode = is_in_episode(trail, threshold, window)
      local held = episode and #trail.items or #trail.items - first_of(trail, window) + 1
      told[#told + 1] = {
        step, held, episode and now - trail.first or 0, trail, episode and trail.sketched, episode and 2 or 0,
      }
    elseif (what == COUNT or suspicious) and trail.is_new and not trail.changed and not has_room(ledger) then
      told[#told + 1] = { step, 0, 0, trail, false, 0 }
    elseif what == COUNT or suspicious then
      if not trail.changed then
        order[#order + 1] = trail
      end
      if count(trail, threshold, window, item) then
        told[#told + 1] = { step, #trail.items, now - trail.first, trail, trail.sketched, 2 }
      end
    end
    suspicious = false
    at = at + 2
  end
end

for _, trail in ipairs(order) do
  local header = pack('>I2BI7I7', MAGIC, trail.sketched and 1 or 0, trail.reported, trail.first)
  local entries = {}
  for i, item in ipairs(trail.items) do
    entries[i] = item .. pack('>I5', trail.seen[i] % SPAN)
  end
  local expiry = string.format('%.0f', expiry_of(now, trail.window))
  local value = header .. table.concat(entries)
  call('SET', trail.key, value, 'PXAT', expiry)
  local was = trail.newest and slot(trail, trail.size + (trail.had_sketch and SKETCH or 0), trail.newest)
  enter(ledger, was, slot(trail, #value + (trail.sketched and SKETCH or 0), now))
  if #trail.added > 0 then
    if trail.begins then
      call('DEL', trail.sketch)
    end
    local added = try('PFADD', trail.sketch, unpack(trail.added))
    if type(added) == 'table' then
      -- No sketch of ours.
      broken = broken + 1
      call('DEL', trail.sketch)
      call('PFADD', trail.sketch, unpack(trail.added))
    end
    call('PEXPIREAT', trail.sketch, expiry)
  end
end

write_ledger(ledger)

local reply = { broken + ledger.broken }
for _, what in ipairs(told) do
  local step, held, span, trail, sketched, flags = unpack(what)
  if sketched then
    local estimate = try('PFCOUNT', trail.sketch)
    held = type(estimate) == 'number' and max(estimate, held) or held
    flags = flags + 1
  end
  reply[#reply + 1] = step
  reply[#reply + 1] = held
  reply[#reply + 1] = span
  reply[#reply + 1] = flags
end
return reply
