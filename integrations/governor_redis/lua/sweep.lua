-- End what was not settled in time, forget what is long finished; at most SWEEP of each. KEYS[4] to KEYS[7]: due, ends, names, index.
local DUE, ENDS, NAMES, INDEX, SWEEP = KEYS[4], KEYS[5], KEYS[6], KEYS[7], 64

-- Answers when there is something to look after next. Most calls have nothing: the functions for it are made only when something is due.
local function swept(next_sweep)
  if next_sweep > now then return next_sweep end
  local function expire(lease, raw)
    local state, due = string.sub(raw, 1, 1), struct.unpack('<d', raw, 2)
    if state ~= 'F' and due > now then return due end
    if state == 'D' then
      local body = unpacked(raw)
      ledgers_of(body)
      for at = 4, #body, 5 do
        local ledger = cache[body[at]]
        if ledger and body[at + 3] == 0 then
          ledger[1], ledger[2] = ledger[1] + body[at + 1], ledger[2] - body[at + 1]
          dirty[body[at]] = true
        end
      end
      redis.call('HSET', LEASES, lease, 'F' .. string.sub(raw, 2))
      return now + KEEP_MS
    end
    if state == 'R' then -- read only now: one that ended a moment ago may have given something back to it
      end_lease(unpacked(redis.call('HGET', LEASES, lease)), 'R', nil)
    end
    redis.call('HDEL', LEASES, lease)
  end

  local function forget(key)
    local ledger = cache[key]
    if not ledger then return nil end
    if ledger[5] > now or ledger[2] ~= 0 then return math.max(ledger[5], now + KEEP_MS) end
    cache[key], dirty[key] = false, nil
    redis.call('HDEL', LEDGERS, key)
    redis.call('HDEL', NAMES, key)
    redis.call('HDEL', META, 'b:' .. key)
    redis.call('ZREM', INDEX, key)
  end

  -- At most SWEEP of those in `queue` whose time has come; `each` answers when it has to be looked at again, or nil. The time of the next.
  local function look_after(queue, load, each)
    local due = redis.call('ZRANGEBYSCORE', queue, '-inf', now, 'LIMIT', 0, SWEEP)
    if #due > 0 then
      local raws, gone, later = load(due), {}, {}
      for at, name in ipairs(due) do
        local again = raws[at] and each(name, raws[at])
        if again then
          later[#later + 1] = again
          later[#later + 1] = name
        else
          gone[#gone + 1] = name
        end
      end
      if #gone > 0 then redis.call('ZREM', queue, unpack(gone)) end
      if #later > 0 then redis.call('ZADD', queue, unpack(later)) end
    end
    if #due == SWEEP then return now end
    local first = redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES')
    return first[2] and math.max(tonumber(first[2]), now + 1) or MOST
  end

  local function tidy()
    local all = redis.call('HGETALL', META)
    for at = 1, #all, 2 do
      if string.sub(all[at], 1, 2) == 'p:' and tonumber(all[at + 1]) < (now - KEEP_MS) * 1000 then redis.call('HDEL', META, all[at]) end
    end
  end

  local function sweep()
    local leases = look_after(DUE, function(due) return redis.call('HMGET', LEASES, unpack(due)) end, expire)
    local ledgers = look_after(ENDS, function(due) fetch(due) return due end, forget)
    flush()
    if math.fmod(tonumber(clock[2]), 997) == 0 then tidy() end
    return math.min(leases, ledgers)
  end

  next_sweep = sweep()
  redis.call('HSET', META, 's', next_sweep)
  return next_sweep
end

-- Open a ledger, whose unit, budget and scope are second to fourth of its hold as the client wrote it. Answers when it ends.
local function open(key, word, limit, ends, per)
  redis.call('HSET', NAMES, key, cjson.encode({word[2], word[3], word[4]}))
  redis.call('ZADD', INDEX, 0, key)
  cache[key] = {0, 0, 0, limit, ends, per, now, now}
  if ends == NONE then return MOST end
  redis.call('ZADD', ENDS, ends, key)
  return ends
end
