-- An operator's change. KEYS: META, ledgers, leases, due, audit by id, order. ARGV: epoch, process, numbers, id, kind, subject, change as JSON,
-- halt as JSON. numbers: own, loss_ms, amount.
local known_own, loss_ms, amount = struct.unpack('<ddd', ARGV[3])
local facts = redis.call('HMGET', META, 'e', PROCESS)
if lost(facts, known_own, loss_ms) then return answer(6, struct.pack('<d', now + loss_ms)) end
redis.call('HSET', META, PROCESS, next_own())
if redis.call('HEXISTS', KEYS[5], ARGV[4]) == 1 then return answer(1) end
local kind, subject = ARGV[5], ARGV[6]

-- Forfeit leases hold nothing more on a ledger that is reset: a late settlement takes nothing off its new count. They are looked for among
-- those that are due in more than an hour, as all are that were forfeit within 23 hours, and few others: who is reset must not block all.
local function forgive(key)
  local soonest, from = now + 3600000, 0
  while true do
    local due = redis.call('ZRANGEBYSCORE', KEYS[4], soonest, '+inf', 'LIMIT', from, 500)
    if #due == 0 then return end
    local raws = redis.call('HMGET', LEASES, unpack(due))
    for at, lease in ipairs(due) do
      local raw, found = raws[at], false
      if raw and string.sub(raw, 1, 1) == 'F' then
        local body = unpacked(raw)
        for each = 4, #body, 5 do
          if body[each] == key and body[each + 3] == 0 then body[each + 1], found = 0, true end
        end
        if found then redis.call('HSET', LEASES, lease, string.sub(raw, 1, 17) .. cmsgpack.pack(body)) end
      end
    end
    from = from + 500
  end
end

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
    ledger[1], ledger[7] = 0, now
    ledger.bucket = nil
    forgive(subject)
  end
  dirty[subject] = true
  flush()
end
redis.call('HSET', KEYS[5], ARGV[4], ARGV[7])
redis.call('RPUSH', KEYS[6], ARGV[4])
return answer(1)
