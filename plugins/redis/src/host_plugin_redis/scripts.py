"""What runs inside the server: each script is atomic and one round trip.

A key's version is a random token beside the value. `CURRENT` and `SWAP` make it when it is missing; every
write deletes it, so that those who never ask for versions pay a DEL of nothing. Outside of this module a
version ends with a digest of the value, which shows writes of other applications too.

All of them take the key of the value, and the key of the version where the layout has one.
"""

from __future__ import annotations

from hashlib import sha1

__all__ = ["CURRENT", "EXISTING", "INCREMENT", "OUT_OF_RANGE", "SET", "SET_MANY", "SWAP", "Script"]

OUT_OF_RANGE = "WASMPLEXRANGE"


class Script:
    """A script and its digest, by which the server knows it."""

    __slots__ = ("digest", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.digest = sha1(text.encode(), usedforsecurity=False).hexdigest()


_VERSION = """
local function version_of(value_key, version_key, fresh)
  local version = redis.call('GET', version_key)
  if not version then
    version = fresh
    local ttl = redis.call('PTTL', value_key)
    if ttl >= 0 then redis.call('SET', version_key, version, 'PX', math.max(ttl, 1))
    else redis.call('SET', version_key, version) end
  end
  return version
end
"""

SET = Script("""
local command = {'SET', KEYS[1], ARGV[1]}
if ARGV[2] ~= '' then command[4] = 'PX'; command[5] = ARGV[2] end
if ARGV[3] ~= '' then command[#command + 1] = 'NX' end
if not redis.call(unpack(command)) then return 0 end
if KEYS[2] then redis.call('DEL', KEYS[2]) end
return 1
""")
"""value, ttl in ms or '', '1' for if-not-exists or '' -> 1 if written"""

SET_MANY = Script("""
local failed = false
local step = #KEYS / #ARGV
for i = 1, #ARGV do
  local done = redis.pcall('SET', KEYS[(i - 1) * step + 1], ARGV[i])
  if done.err then failed = failed or done
  elseif step == 2 then redis.call('DEL', KEYS[i * 2]) end
end
return failed or 1
""")
"""the values; all keys in order -> 1, or the first error"""

INCREMENT = Script("""
local before = redis.call('GET', KEYS[1])
redis.call('INCRBY', KEYS[1], ARGV[1])
local after = redis.call('GET', KEYS[1])
if ARGV[2] ~= '' then
  local low, negative = ARGV[2], after:sub(1, 1) == '-'
  local below = negative
  if negative == (low:sub(1, 1) == '-') then
    local smaller = #after < #low or (#after == #low and after < low)
    below = after ~= low and smaller ~= negative
  end
  if below then
    if before then redis.call('SET', KEYS[1], before, 'KEEPTTL') else redis.call('DEL', KEYS[1]) end
    return redis.error_reply('WASMPLEXRANGE the sum is below the minimum')
  end
end
if KEYS[2] then redis.call('DEL', KEYS[2]) end
return after
""")
"""delta, minimum or '' for that of an s64 -> the sum as text: Lua's numbers end at 2**53"""

CURRENT = Script(
    _VERSION
    + """
local value = redis.call('GET', KEYS[1])
if not value then return false end
return {value, version_of(KEYS[1], KEYS[2], ARGV[1])}
"""
)
"""a fresh token -> value and token, nothing if absent"""

SWAP = Script(
    _VERSION
    + """
local value = redis.call('GET', KEYS[1])
if not value then return false end
local version = version_of(KEYS[1], KEYS[2], ARGV[2])
if (ARGV[3] ~= '' and (ARGV[3] ~= version or ARGV[4] ~= redis.sha1hex(value)))
  or (ARGV[5] ~= '' and ARGV[6] ~= value) then
  return {value, version}
end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[2])
return 1
"""
)
"""new value, a fresh token, token or '', digest, '1' to compare the value or '', value
-> 1 if swapped, value and token if not, nothing if absent"""

EXISTING = Script("""
local found = {}
for i = 1, #KEYS do found[i] = redis.call('EXISTS', KEYS[i]) end
return found
""")
"""-> 1 or 0 for each key"""
