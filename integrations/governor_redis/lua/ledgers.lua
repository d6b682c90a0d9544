-- Ledgers and their buckets. A ledger is eight doubles: spent, reserved, granted, limit, end, period (0: no rate), opened, touched; a rate has
-- its bucket behind them: level in whole units, rest in milliseconds of the period, time, number of its last hold, and the lows.
-- A level is units * period + rest, so that it stays exact where units * period would not: see governor/stores/rates.py for the rules.
local LEDGERS, LEASES = KEYS[2], KEYS[3]
local NONE, MOST = -9007199254740991, 9007199254740991
local BASE, LOWS = '<dddddddd', 16
local cache, dirty = {}, {}

local function read(raw)
  if not raw then return false end
  local ledger = {struct.unpack(BASE, raw)}
  if #raw > 64 then
    local units, rest, at, taken, count = struct.unpack('<ddddd', raw, 65)
    local lows, from = {}, 105
    for each = 1, count do
      local number, low, part = struct.unpack('<ddd', raw, from)
      lows[each] = {number, low, part}
      from = from + 24
    end
    ledger.bucket = {units, rest, at, taken, lows}
  end
  return ledger
end

local function written(ledger)
  local raw = struct.pack(BASE, ledger[1], ledger[2], ledger[3], ledger[4], ledger[5], ledger[6], ledger[7], ledger[8])
  local bucket = ledger.bucket
  if not bucket then return raw end
  local parts = {raw, struct.pack('<ddddd', bucket[1], bucket[2], bucket[3], bucket[4], #bucket[5])}
  for _, low in ipairs(bucket[5]) do parts[#parts + 1] = struct.pack('<ddd', low[1], low[2], low[3]) end
  return table.concat(parts)
end

-- Have these ledgers in `cache`: one call for all that are not there yet. `false` stands for a ledger that does not exist.
local function fetch(keys)
  local wanted = {}
  for _, key in ipairs(keys) do
    if cache[key] == nil then
      cache[key] = false
      wanted[#wanted + 1] = key
    end
  end
  if #wanted == 0 then return end
  local raws = redis.call('HMGET', LEDGERS, unpack(wanted))
  for each, key in ipairs(wanted) do cache[key] = read(raws[each]) end
end

local function flush()
  local pairs_of = {}
  for key in pairs(dirty) do
    pairs_of[#pairs_of + 1] = key
    pairs_of[#pairs_of + 1] = written(cache[key])
  end
  if #pairs_of > 0 then redis.call('HSET', LEDGERS, unpack(pairs_of)) end
  dirty = {}
end

local function below(units, rest, other, part)
  return units < other or (units == other and rest < part)
end

local function minus(units, rest, other, part, per)
  units, rest = units - other, rest - part
  if rest < 0 then units, rest = units - 1, rest + per end
  return units, rest
end

-- The level now: `limit` units times the milliseconds that passed have drained. Factors are split by the period, whose square is exact.
local function drained(bucket, limit, per)
  local passed = now - bucket[3]
  if passed <= 0 or limit <= 0 then return bucket[1], bucket[2] end
  local part, over = math.fmod(passed, per), math.fmod(limit, per)
  local periods, whole = (passed - part) / per, (limit - over) / per
  if periods * limit > bucket[1] then return 0, 0 end
  local product = part * over
  local rest = math.fmod(product, per)
  local units = periods * limit + part * whole + (product - rest) / per
  if below(bucket[1], bucket[2], units, rest) then return 0, 0 end
  return minus(bucket[1], bucket[2], units, rest, per)
end

-- A ledger's bucket, empty at first. Of another period (the policy was changed) whole units are kept: its level rounded up, lows down.
local function bucket_of(ledger, per)
  local bucket = ledger.bucket or {0, 0, 0, 0, {}}
  if ledger[6] ~= per and ledger.bucket then
    if bucket[2] > 0 then bucket[1], bucket[2] = bucket[1] + 1, 0 end
    for _, low in ipairs(bucket[5]) do low[3] = 0 end
  end
  ledger.bucket, ledger[6] = bucket, per
  return bucket
end

local function add(bucket, amount, limit, per)
  local units, rest = drained(bucket, limit, per)
  local number, lows = bucket[4] + 1, {}
  for _, low in ipairs(bucket[5]) do
    if below(low[2], low[3], units, rest) then lows[#lows + 1] = low end
  end
  lows[#lows + 1] = {number, units, rest}
  if #lows > LOWS then
    lows[2] = {lows[2][1], lows[1][2], lows[1][3]}
    table.remove(lows, 1)
  end
  bucket[1], bucket[2], bucket[3], bucket[4], bucket[5] = units + amount, rest, math.max(now, bucket[3]), number, lows
  return number
end

local function give_back(bucket, amount, number, charged, limit, per)
  local units, rest = drained(bucket, limit, per)
  bucket[3] = math.max(now, bucket[3])
  if amount <= charged then
    bucket[1], bucket[2] = units + charged - amount, rest
    return
  end
  local back, part, low, low_part = amount - charged, 0, units, rest
  for _, each in ipairs(bucket[5]) do
    if each[1] > number then
      low, low_part = each[2], each[3]
      break
    end
  end
  if below(low, low_part, back, part) then back, part = low, low_part end
  if below(units, rest, back, part) then back, part = units, rest end
  units, rest = minus(units, rest, back, part, per)
  local kept, above, above_part = {}, units, rest
  for each = #bucket[5], 1, -1 do
    local entry = bucket[5][each]
    local revised, revised_part = entry[2], entry[3]
    if entry[1] > number then revised, revised_part = minus(revised, revised_part, back, part, per) end
    if below(revised, revised_part, above, above_part) then
      table.insert(kept, 1, {entry[1], revised, revised_part})
      above, above_part = revised, revised_part
    end
  end
  bucket[1], bucket[2], bucket[5] = units, rest, kept
end

-- Leases. A lease is its state (R, D, S, L released, F), two doubles (due, number) and what never changes of it, packed: payload, run, holds
-- as the client wrote them, and for each hold ledger, amount, number in its bucket, period, limit. One that took from an escrow also has `e`,
-- that lease, and `t`, how much for each hold: see governor/stores/escrow.py for the rules.
local function unpacked(raw) return cmsgpack.unpack(string.sub(raw, 18)) end

-- How much of what a ledger has spent is from before the server lost something; at least `most` from now on. It is remembered, for this
-- epoch, since the first lease of before the loss that ended on this ledger: what is charged after it is not from before.
local function from_before(key, most)
  local known, before = redis.call('HGET', META, 'b:' .. key), cache[key] and cache[key][1] or 0
  if known and string.sub(known, 9) == epoch then before = struct.unpack('<d', known) end
  redis.call('HSET', META, 'b:' .. key, struct.pack('<d', math.max(before, most)) .. epoch)
  return before
end

-- What its holds are now: an escrow's are less than the client wrote.
local function amounts_of(body)
  local amounts = {}
  for each = 5, #body, 5 do amounts[#amounts + 1] = struct.pack('<d', body[each]) end
  return table.concat(amounts)
end

-- A lease that others take from: its head, its body and what it still has by ledger. Nil when it is over, or its call has begun.
local function escrow_of(lease, not_before)
  local raw = redis.call('HGET', LEASES, lease)
  if not raw or string.sub(raw, 1, 1) ~= 'R' or struct.unpack('<d', raw, 2) <= not_before then return nil end
  local body, left = unpacked(raw), {}
  for at = 4, #body, 5 do
    if body[at + 3] == 0 then left[body[at]] = (left[body[at]] or 0) + body[at + 1] end
  end
  return {lease = lease, head = string.sub(raw, 1, 17), body = body, left = left}
end

-- Give to an escrow (take, if negative); its ledger holds as much more. Of several holds on one ledger, the first that has as much changes first.
local function give(escrow, ledger, change)
  if change == 0 or not cache[ledger] then return end
  cache[ledger][2], escrow.left[ledger] = cache[ledger][2] + change, (escrow.left[ledger] or 0) + change
  dirty[ledger] = true
  local body = escrow.body
  for at = 4, #body, 5 do
    if change ~= 0 and body[at] == ledger and body[at + 3] == 0 then
      local step = math.max(change, -body[at + 1])
      body[at + 1], change = body[at + 1] + step, change - step
    end
  end
end

local function write_escrow(escrow)
  redis.call('HSET', LEASES, escrow.lease, escrow.head .. cmsgpack.pack(escrow.body))
end

local function give_back_to_escrow(body, charged)
  local escrow = escrow_of(body.e, -1)
  if not escrow then return end
  for at = 4, #body, 5 do
    local each = (at + 1) / 5
    local change = math.min(body.t[each], body[at + 1] - (charged and charged[each] or 0))
    if change < 0 then change = body[at + 3] > 0 and 0 or -math.min(-change, escrow.left[body[at]] or 0) end
    give(escrow, body[at], change)
  end
  write_escrow(escrow)
end

local function end_hold(body, at, state, charged)
  local ledger, amount, per = cache[body[at]], body[at + 1], body[at + 3]
  if not ledger then return end
  ledger[8] = math.max(ledger[8], now)
  dirty[body[at]] = true
  if per > 0 then
    if state ~= 'F' then give_back(bucket_of(ledger, per), amount, body[at + 2], charged, body[at + 4], per) end
  elseif state == 'F' then
    ledger[1] = ledger[1] + charged - amount
  else
    ledger[1], ledger[2] = ledger[1] + charged, ledger[2] - amount
  end
end

-- The ledgers of a lease, fetched: one for each of its holds.
local function ledgers_of(body)
  local keys = {}
  for at = 4, #body, 5 do keys[#keys + 1] = body[at] end
  fetch(keys)
  return keys
end

-- End every hold of a lease in `state`; `charged` has an amount for each, or is nil when nothing was used.
local function end_lease(body, state, charged)
  local keys = ledgers_of(body)
  for each = 1, #keys do end_hold(body, each * 5 - 1, state, charged and charged[each] or 0) end
  if body.e then give_back_to_escrow(body, charged) end
end
