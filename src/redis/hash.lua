local parts = {}
local left = tonumber(ARGV[1])
for _, part in ipairs(redis.call('HGETALL', KEYS[1])) do
  left = left - #part - 4
  if left < 0 then
    return string.rep('x', tonumber(ARGV[1]) + 1)
  end
  parts[#parts + 1] = struct.pack('>I4', #part) .. part
end
return table.concat(parts)
