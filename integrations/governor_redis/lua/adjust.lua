-- An operator's change. KEYS: META, ledgers, unused, audit by id, order. ARGV: epoch, process, numbers, id, kind, subject, change as JSON,
-- halt as JSON. numbers: own, loss_ms, amount.
local known_own, loss_ms, amount = struct.unpack('<ddd', ARGV[3])
local facts = redis.call('HMGET', META, 'e', PROCESS)
if lost(facts, known_own, loss_ms) then return answer(6, struct.pack('<d', now + loss_ms)) end
redis.call('HSET', META, PROCESS, next_own())
if redis.call('HEXISTS', KEYS[4], ARGV[4]) == 1 then return answer(1) end
local kind, subject = ARGV[5], ARGV[6]
if kind == 'halt' then
  redis.call('HSET', META, 'h:' .. subject, ARGV[8])
elseif kind == 'resume' then
  redis.call('HDEL', META, subject == 'store' and 'z' or 'h:' .. subject)
else
  fetch({subject})
  local ledger = cache[subject]
  if not ledger then return answer(0) end
  if kind == 'grant' then
    if math.abs(ledger[3] + amount) > MOST then return answer(7) end
    ledger[3] = ledger[3] + amount
  else
    ledger[1] = 0
    ledger.bucket = nil
  end
  dirty[subject] = true
  flush()
end
redis.call('HSET', KEYS[4], ARGV[4], ARGV[7])
redis.call('RPUSH', KEYS[5], ARGV[4])
return answer(1)
