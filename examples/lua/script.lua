-- What the host in C calls, on threads of libuv's and of GLib's.

calls = 0

-- An ordinary function.
function fib(n)
  calls = calls + 1
  if n < 2 then return n end
  return fib(n - 1) + fib(n - 2)
end

-- An error of Lua's: it unwinds Lua's own frames, up to the host's lua_pcall.
function fails(n)
  error("no result for " .. n)
end

-- Recursion in Lua takes Lua's stack, which is on the heap, until Lua says that it is too deep.
function deep(n)
  return 1 + deep(n + 1)
end

-- Recursion through C takes the C stack: here that of the callback.
function deep_in_c(n)
  return (string.gsub("x", "x", function() return deep_in_c(n + 1) end))
end

-- A coroutine that stays between callbacks: each call resumes it.
local counter = coroutine.wrap(function()
  local sum = 0
  while true do
    -- A yield across a protected call, and across a metamethod.
    local _, n = pcall(coroutine.yield, sum)
    sum = sum + n
  end
end)
counter()
function add(n)
  return counter(n)
end

-- A module in C with a mistake: see crash in host.c.
function breaks(n)
  return crash(n)
end

-- Coroutines with C stacks: see stacks.c. On them runs f.
local function there(f)
  return stacks.wrap(f)()
end

-- Lua's own coroutines cannot yield here: "attempt to yield across a C-call boundary".
function yields_from_c(n)
  local bytes, sum = stacks.wrap(function()
    string.gsub("needm", ".", function(c) stacks.yield(string.byte(c)) end)
  end), 0
  for byte in bytes do
    -- One inside another.
    sum = sum + there(function() return byte end)
  end
  return sum
end
-- One that stays between callbacks.
local kept
function add_there(n)
  kept = kept or stacks.wrap(function(n)
    local sum = 0
    while true do
      sum = sum + n
      n = stacks.yield(sum)
    end
  end)
  return kept(n)
end
function ends_by_error(n)
  return select(2, pcall(there, function() error("none there", 0) end))
end
function where(n) return there(stacks.where) end
function scan(n) return there(stacks.scan) end
function through_c(n)
  -- The callback inside resumes a coroutine, too.
  return there(function() return stacks.through_c(function() return there(function() return fib(n) end) end) end)
end
function crash_there(n) return there(stacks.crash) end
function overflow_there(n) return there(stacks.overflow) end
function panic_there(n) return there(stacks.panic) end
function crash_with_deferred(n) return there(stacks.crash_with_deferred) end
