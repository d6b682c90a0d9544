-- Open and forfeit leases, some at a time. KEYS: leases. ARGV: cursor, run or nothing.
local page = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', 500)
local found = {}
for at = 1, #page[2], 2 do
  local raw = page[2][at + 1]
  local state = string.sub(raw, 1, 1)
  if state ~= 'S' and state ~= 'L' then
    local body = cmsgpack.unpack(string.sub(raw, 18))
    if ARGV[2] == '' or ARGV[2] == body[2] then
      local amounts = {}
      for each = 5, #body, 5 do amounts[#amounts + 1] = struct.pack('<d', body[each]) end -- an escrow's are less than it began with
      found[#found + 1] = {page[2][at], state, string.sub(raw, 2, 17), body[2], body[3], table.concat(amounts)}
    end
  end
end
return {page[1], found}
