-- KEYS: META, ledgers, leases, due, ends, names, index, [run]. ARGV: epoch, process, numbers, id, payload, run, holds, expected, version, state,
-- then the scopes that may be halted, then for each hold its ledger and the earlier ones of its window, then the escrow if there is one.
-- numbers: own, loss_ms, state_ttl_ms, ttl_ms, dispatched, scopes, holds; for each hold amount, limit, end, period, what is
-- kept of the limit, count of earlier ledgers.
local known_own, loss_ms, state_ttl_ms, ttl_ms, dispatched, scopes, holds = struct.unpack('<ddddddd', ARGV[3])
local id, payload = ARGV[4], ARGV[5]

local asked = {'e', PROCESS, 'z', 's', 'q'}
for each = 1, scopes do asked[5 + each] = 'h:' .. ARGV[10 + each] end
local facts = redis.call('HMGET', META, unpack(asked))
if lost(facts, known_own, loss_ms) then return answer(6, struct.pack('<d', now + loss_ms)) end
local next_sweep = swept(tonumber(facts[4] or MOST))

local wrote = write_state(KEYS[8], ARGV[8], ARGV[9], ARGV[10], state_ttl_ms)
local function says(code, ...)
  redis.call('HSET', META, PROCESS, next_own())
  return answer(code, wrote, ...)
end

local before = redis.call('HGET', LEASES, id)
-- A call that waited too long is over, however many others are: its id may be reserved again.
while before and string.sub(before, 1, 1) == 'R' and struct.unpack('<d', before, 2) <= now and next_sweep <= now do
  next_sweep = swept(next_sweep)
  before = redis.call('HGET', LEASES, id)
end
if before then
  local body = unpacked(before)
  if payload ~= '' and body[1] ~= '' and payload ~= body[1] then return says(5) end
  return says(2, string.sub(before, 1, 1), body[3], amounts_of(body))
end
for each = 1, scopes do
  if facts[5 + each] then return says(3, facts[5 + each]) end
end

-- What each hold asks for, and which ledgers count for it.
local wanted, all, argument, number = {}, {}, 11 + scopes, 57
for each = 1, holds do
  local amount, limit, ends, per, kept, earlier = struct.unpack('<dddddd', ARGV[3], number)
  wanted[each] = {ledger = ARGV[argument], amount = amount, limit = limit, ends = ends, per = per, kept = kept, first = argument, last = argument + earlier}
  for at = argument, argument + earlier do all[#all + 1] = ARGV[at] end
  argument, number = argument + earlier + 1, number + 48
end
fetch(all)

local frozen = tonumber(facts[3] or 0)
local counts, escrow, taken_from

-- What to say of the first hold that does not fit: a code and its facts. Nil when all fit; then `counts` has what counted against each.
local function refused()
  local taken, rest = {}, {}
  counts, taken_from = {}, {}
  escrow = ARGV[argument] and escrow_of(ARGV[argument], now)
  for each, hold in ipairs(wanted) do
    local spent, reserved, granted = 0, 0, 0
    for at = hold.first, hold.last do
      local ledger = cache[ARGV[at]]
      if ledger then spent, reserved, granted = spent + ledger[1], reserved + ledger[2], granted + ledger[3] end
    end
    local already, kept = taken[hold.ledger] or 0, 0
    if escrow and hold.per == 0 then
      kept = escrow.left[hold.ledger] or 0
      local most = math.min(hold.amount, rest[hold.ledger] or kept)
      rest[hold.ledger], taken_from[each], reserved = (rest[hold.ledger] or kept) - most, most, reserved - kept
    end
    if hold.per > 0 then
      local bucket = cache[hold.ledger] and bucket_of(cache[hold.ledger], hold.per) or {0, 0, 0, 0, {}}
      local units, rest = drained(bucket, hold.limit, hold.per)
      local more = already + hold.amount
      local over = units + more - hold.limit
      if hold.limit ~= NONE and (more > hold.limit or over > 0 or (over == 0 and rest > 0)) then
        return 4, struct.pack('<ddddd', each - 1, already, units, rest, now)
      end
    else
      local weight = spent + reserved + already + hold.amount
      if hold.limit ~= NONE then
        if frozen > now then return 6, struct.pack('<d', frozen) end
        if weight > hold.limit + granted - hold.kept then return 4, struct.pack('<ddddd', each - 1, already, spent, reserved, granted) end
      end
      if weight > MOST then return 7, hold.ledger end
    end
    taken[hold.ledger] = already + hold.amount
    counts[each] = struct.pack('<ddd', spent, (taken_from[each] or 0) > 0 and 0 or reserved, granted)
  end
end

local code, why = refused()
while code == 4 and next_sweep <= now do -- nobody is turned away for what has expired
  next_sweep = swept(next_sweep)
  code, why = refused()
end
if code then return says(code, why) end

local words
local body = {payload, ARGV[6], ARGV[7]}
for each, hold in ipairs(wanted) do
  if not cache[hold.ledger] then
    words = words or cjson.decode(ARGV[7])
    next_sweep = math.min(next_sweep, open(hold.ledger, words[each], hold.limit, hold.ends, hold.per))
  end
  local ledger, number_in_bucket = cache[hold.ledger], 0
  ledger[4], ledger[8] = hold.limit, math.max(ledger[8], now)
  if ledger[5] ~= NONE then ledger[5] = math.max(ledger[5], hold.ends) end
  if hold.per > 0 then
    number_in_bucket = add(bucket_of(ledger, hold.per), hold.amount, hold.limit, hold.per)
  else
    ledger[2] = ledger[2] + hold.amount
  end
  dirty[hold.ledger] = true
  local at = #body
  body[at + 1], body[at + 2], body[at + 3], body[at + 4], body[at + 5] = hold.ledger, hold.amount, number_in_bucket, hold.per, hold.limit
end
local due, sequence = now + ttl_ms, tonumber(facts[5] or 0) + 1
if escrow then
  body.e, body.t = escrow.lease, {}
  for each, hold in ipairs(wanted) do
    body.t[each] = taken_from[each] or 0
    give(escrow, hold.ledger, -body.t[each])
  end
  local until_ms, number = struct.unpack('<dd', escrow.head, 2)
  if due > until_ms then redis.call('ZADD', DUE, due, escrow.lease) end
  escrow.head = 'R' .. struct.pack('<dd', math.max(due, until_ms), number)
  write_escrow(escrow)
end
flush()
redis.call('HSET', LEASES, id, (dispatched == 1 and 'D' or 'R') .. struct.pack('<dd', due, sequence) .. cmsgpack.pack(body))
redis.call('ZADD', DUE, due, id)
redis.call('HSET', META, PROCESS, next_own(), 's', math.min(next_sweep, due), 'q', sequence)
return answer(1, wrote, table.concat(counts))
