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
-- newest item leaves the window. Of a key no more is read than a trail can be.

local MAGIC, FAILURES = 0x9a04, 0x9a02
local STEP, HEADER, ENTRY, MOST = 16, 17, 13, 64
local MOST_BYTES = HEADER + MOST * ENTRY
local MOST_SKETCH = 12304 -- the bytes of a HyperLogLog that is dense
local FAILURES_HEADER = 23
local COUNT, IS_FAILING, IS_DISTINCT, COUNT_IF, STATE = 1, 2, 3, 4, 5
-- Of a sketch up to some hundred items, with its key; a denser one takes 12 kB more.
local SKETCH = 600

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

local ledger = open_ledger(KEYS[1], budget, ceil(now / 1000))
local broken = 0

-- Stamps in the future, left by a clock that stepped back, become `now`.
local function mended(entries)
  if entries == '' or age(entries, #entries - 4) >= 0 then
    return entries
  end
  local past = before(0, entries, ENTRY) * ENTRY
  local of_now = string.gsub(stamp, '%%', '%%%%')
  return sub(entries, 1, past) .. string.gsub(sub(entries, past + 1), '(........).....', '%1' .. of_now)
end

-- What was read of a trail; nothing for what is no trail of ours, which is then written anew.
local function parse(value)
  if type(value) ~= 'string' or #value < HEADER or #value > MOST_BYTES or (#value - HEADER) % ENTRY ~= 0 then
    return
  end
  local magic, sketched, reported, first = unpack_at('>I2BI7I7', value)
  if magic ~= MAGIC then
    return
  end
  local entries = sub(value, HEADER + 1)
  return { entries = entries, sketched = sketched == 1, reported = min(reported, now), first = min(first, now) }
end

local trails = {}

local function read(key)
  local trail = trails[key]
  if not trail then
    local value = read_value(key, MOST_BYTES)
    trail = parse(value)
    if not trail then
      broken = broken + (value and 1 or 0)
      trail = { entries = '', sketched = false, reported = 0, first = 0, dropped = value }
    end
    trail.key, trail.added = key, {}
    trail.is_new, trail.size = not value, type(value) == 'string' and #value
    trail.newest = trail.entries ~= '' and now - age(trail.entries, #trail.entries - 4)
    trail.had_sketch = trail.sketched
    trails[key] = trail
  end
  return trail
end

-- How many items of the trail lie in the window.
local function held_in(trail, window)
  return #trail.entries / ENTRY - before(window, trail.entries, ENTRY)
end

local function is_in_episode(trail, threshold, window)
  return trail.reported > 0 and held_in(trail, window) * 2 >= threshold
end

-- The same of a trail of count_failures.lua, which keeps as many failures as its threshold: whether the one that is half of
-- them back from the newest lies in the window.
local function is_failing(key, threshold, window)
  local header = read_value(key, FAILURES_HEADER - 1)
  if type(header) ~= 'string' or #header < FAILURES_HEADER then
    return false
  end
  local magic, reported, _, _, routes = unpack_at('>I2I7I7I5I2', header)
  local at = call('STRLEN', key) - 5 * ceil(threshold / 2)
  if magic ~= FAILURES or reported == 0 or at < FAILURES_HEADER + routes then
    return false
  end
  local half = call('GETRANGE', key, string.format('%.0f', at), string.format('%.0f', at + 4))
  return age(half, 1) < window
end

local function add(trail, entries)
  for at = 1, #entries, ENTRY do
    trail.added[#trail.added + 1] = sub(entries, at, at + 7)
  end
end

-- Counts an item; whether it is an incident.
local function count(trail, threshold, window, item)
  local all = mended(trail.entries)
  local from = before(window, all, ENTRY) * ENTRY
  local entries = sub(all, from + 1)
  if #entries / ENTRY * 2 < threshold then
    trail.reported, trail.sketched, trail.begins, trail.added = 0, false, false, {}
  end
  local known = string.find(entries, item, 1, true)
  while known and known % ENTRY ~= 1 do
    known = string.find(entries, item, known + 1, true)
  end
  if known then
    entries = sub(entries, 1, known - 1) .. sub(entries, known + ENTRY)
  end
  local overflows = #entries == MOST * ENTRY
  if trail.reported > 0 and not trail.sketched and (from > 0 or overflows) then
    trail.sketched, trail.begins = true, true
    add(trail, all)
  end
  if overflows then
    entries = sub(entries, ENTRY + 1)
  end
  trail.entries = entries .. item .. stamp
  trail.window, trail.changed = window, true
  if trail.sketched then
    trail.added[#trail.added + 1] = item
  end
  if trail.reported > 0 then
    if now - trail.reported < window then
      return false
    end
  elseif #trail.entries / ENTRY < threshold then
    return false
  else
    trail.first = now - age(trail.entries, 9)
  end
  trail.reported = now
  return true
end

local function is_long_sketch(key)
  local size = try('STRLEN', key)
  if is_refused(size) then
    call('STRLEN', key)
  end
  return type(size) == 'number' and size > MOST_SKETCH
end

-- Adds the items of an episode to its sketch.
local function sketch(trail)
  local key = trail.sketch
  if trail.begins then
    drop(key)
  end
  local added = not is_long_sketch(key) and try('PFADD', key, unpack(trail.added))
  if type(added) ~= 'number' then
    -- No sketch of ours.
    broken = broken + 1
    drop(key)
    call('PFADD', key, unpack(trail.added))
  end
end

local told, order = {}, {}
local at, suspicious = 2, false
for step = 0, steps - 1 do
  local what, threshold, window, item = unpack_at('>BI2I5c8', plan, step * STEP + 1)
  local key = KEYS[at]
  if what == IS_FAILING then
    suspicious = suspicious or is_failing(key, threshold, window)
    at = at + 1
  elseif what == IS_DISTINCT then
    suspicious = suspicious or is_in_episode(read(key), threshold, window)
    at = at + 1
  else
    local trail = read(key)
    trail.sketch = KEYS[at + 1]
    if what == STATE then
      local episode = is_in_episode(trail, threshold, window)
      local held = episode and #trail.entries / ENTRY or held_in(trail, window)
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
        told[#told + 1] = { step, #trail.entries / ENTRY, now - trail.first, trail, trail.sketched, 2 }
      end
    end
    suspicious = false
    at = at + 2
  end
end

for _, trail in ipairs(order) do
  local header = pack('>I2BI7I7', MAGIC, trail.sketched and 1 or 0, trail.reported, trail.first)
  local expiry = string.format('%.0f', expiry_of(now, trail.window))
  if trail.dropped then
    drop(trail.key)
  end
  local value = header .. trail.entries
  call('SET', trail.key, value, 'PXAT', expiry)
  local was = trail.newest
    and trail_until(trail.newest, trail.window, trail.key, trail.size + (trail.had_sketch and SKETCH or 0))
  enter(ledger, was, trail_until(now, trail.window, trail.key, #value + (trail.sketched and SKETCH or 0)))
  if #trail.added > 0 then
    sketch(trail)
    call('PEXPIREAT', trail.sketch, expiry)
  end
end

write_ledger(ledger)

local reply = { broken + ledger.broken }
for _, what in ipairs(told) do
  local step, held, span, trail, sketched, flags = unpack(what)
  if sketched then
    local estimate = not is_long_sketch(trail.sketch) and try('PFCOUNT', trail.sketch)
    held = type(estimate) == 'number' and max(estimate, held) or held
    flags = flags + 1
  end
  reply[#reply + 1] = step
  reply[#reply + 1] = held
  reply[#reply + 1] = span
  reply[#reply + 1] = flags
end
return reply
