-- Purpose: what the scripts share whose keys come after limits and bans; it stands before each of them.
--
-- A ledger says how many bytes the keys of a kind take, and until when: the two bytes 9A 06, then 11 bytes for each moment at
-- which some of them expire, big-endian: the moment (6 bytes, milliseconds of TIME) and their bytes (5 bytes). Moments are
-- rounded up by at most a sixteenth of the time for which the keys are kept. A key takes its name, its value and PER_KEY.
--
-- Invariant: no key is made once those that are there take the budget, so they exceed it by what one call makes, and by what
-- keys grow that are there. A key that goes before its time (evicted, lifted) counts to the end of it.

local LEDGER, ENTRY = 0x9a06, 11
-- Some twenty moments for each window that keys are kept for: what has more is no ledger of ours.
local LONGEST_LEDGER = 2 + 1000 * ENTRY
local PER_KEY = 120
-- The longest window of visitors and a sixteenth: what ends later was left by a clock that stepped back.
local LONGEST_MS = 32 * 86400000

local function open_ledger(key, budget, now_ms)
  return { key = key, budget = budget, now = now_ms, broken = 0 }
end

-- Reads the ledger once in a call, and only if it is needed.
local function read_ledger(ledger)
  if ledger.ends then
    return
  end
  ledger.ends, ledger.sum = {}, 0
  local value = read_value(ledger.key, LONGEST_LEDGER)
  if type(value) == 'string' and #value <= LONGEST_LEDGER and #value % ENTRY == 2 and struct.unpack('>I2', value) == LEDGER then
    for at = 3, #value, ENTRY do
      local ends, bytes = struct.unpack('>I6I5', value, at)
      if ends > ledger.now and ends < ledger.now + LONGEST_MS then
        ledger.ends[ends] = bytes
        ledger.sum = ledger.sum + bytes
      end
    end
  elseif value then
    drop(ledger.key)
    ledger.broken = 1
  end
end

local function has_room(ledger)
  read_ledger(ledger)
  return ledger.sum < ledger.budget
end

-- A key of so many bytes (beside PER_KEY) that expires then, of those that are kept for so long: milliseconds.
local function key_until(expires, kept, bytes)
  local step = math.max(1000, math.floor(kept / 16))
  return { ends = math.ceil(expires / step) * step, bytes = bytes + PER_KEY }
end

local function add(ledger, ends, bytes)
  local before = ledger.ends[ends] or 0
  local after = math.max(before + bytes, 0)
  ledger.ends[ends] = after
  ledger.sum = ledger.sum + after - before
end

-- Replaces a key that was there, if any, by what it is now.
local function enter(ledger, was, is)
  if was and was.ends == is.ends and was.bytes == is.bytes then
    return
  end
  read_ledger(ledger)
  if was and was.ends > ledger.now then
    add(ledger, was.ends, -was.bytes)
  end
  add(ledger, is.ends, is.bytes)
  ledger.changed = true
end

local function write_ledger(ledger)
  if not ledger.changed then
    return
  end
  local entries, last = { struct.pack('>I2', LEDGER) }, ledger.now + 1
  for ends, bytes in pairs(ledger.ends) do
    if bytes > 0 then
      entries[#entries + 1] = struct.pack('>I6I5', ends, bytes)
      last = math.max(last, ends)
    end
  end
  call('SET', ledger.key, table.concat(entries), 'PXAT', string.format('%.0f', last))
end

