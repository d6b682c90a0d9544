-- Charge a lease that the server lost, once. KEYS: META, ledgers, leases, due, ends, names, index. ARGV: epoch, process, numbers, id, run, holds.
-- numbers: own, loss_ms, holds; for each hold what is charged, and what its ledger had spent when the lease was granted.
-- A ledger that has less than that from before the loss gets it back, once for all leases that tell of it.
local known_own, loss_ms, holds = struct.unpack('<ddd', ARGV[3])
local facts = redis.call('HMGET', META, 'e', PROCESS, 's')
local noticed = lost(facts, known_own, loss_ms)
local next_sweep, due = tonumber(facts[3] or MOST), now + KEEP_MS

local function says()
  redis.call('HSET', META, PROCESS, next_own())
  return answer(1, noticed and struct.pack('<d', now + loss_ms) or '')
end

if redis.call('HEXISTS', LEASES, ARGV[4]) == 1 then return says() end

local function number(word) return word ~= cjson.null and word or NONE end

local words, keys, body = cjson.decode(ARGV[6]), {}, {'', ARGV[5], ARGV[6]}
for each = 1, holds do keys[each] = words[each][1] end
fetch(keys)
for each, key in ipairs(keys) do
  local amount, seen = struct.unpack('<dd', ARGV[3], 9 + each * 16)
  local limit, per, ends = number(words[each][6]), math.max(0, number(words[each][9])), number(words[each][11])
  if not cache[key] then next_sweep = math.min(next_sweep, open(key, words[each], limit, ends, per)) end
  local ledger = cache[key]
  ledger[8] = math.max(ledger[8], now)
  if per > 0 then
    add(bucket_of(ledger, per), amount, limit, per)
  else
    local before = from_before(key, seen)
    ledger[1] = ledger[1] + amount + math.max(0, seen - before)
  end
  dirty[key] = true
  local at = #body
  body[at + 1], body[at + 2], body[at + 3], body[at + 4], body[at + 5] = key, amount, 0, per, limit
end
flush()
redis.call('HSET', LEASES, ARGV[4], 'S' .. struct.pack('<dd', due, 0) .. cmsgpack.pack(body))
redis.call('ZADD', DUE, due, ARGV[4])
redis.call('HSET', META, 's', math.min(next_sweep, due))
return says()
