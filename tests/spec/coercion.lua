-- Coercions: every argument and field accepts a numeric string for a number, and a
-- number for a string.

local flux = require "flux"
local kvs = require "kvs"
local spec = require "spec"
local support = require "support"

local test, equal, same, raises, refuses = spec.test, spec.equal, spec.same, spec.raises, spec.refuses

-- Returns strings that every Lua version reads as this small integer.
local function spellings(n)
  return { ("%d"):format(n), (" %d "):format(n), ("0x%x"):format(n), ("%de0"):format(n), ("%d.0"):format(n) }
end

-- Strings that do not read as numbers.
local WORDS = { "", " ", "x", "5x", "5 5", "0x", "1e", "--1", "five" }

-- Returns a number that no other test uses as a key or topic. Every Lua version
-- formats it the same way.
local function unique_number()
  return 1e6 + tonumber((support.unique("n"):gsub("^%D*(%d+).*$", "%1"))) * 1000 + os.time() % 1000
end

local function integer(n)
  return math.tointeger and math.tointeger(n) or n
end

-- Returns a handle and a number to use as a key. The key is removed after the test.
local function numeric_key()
  local f = support.open()
  local key = integer(unique_number())
  spec.after(function()
    local cleaner = assert(flux.new())
    cleaner:kvs_unlink(tostring(key))
    cleaner:kvs_commit()
    cleaner:close()
  end)
  return f, key
end

-- Checks that a call accepts every spelling of `n` like `n` itself, and refuses
-- other strings. `outcome` makes the call and returns its result.
local function takes_integers(n, outcome)
  local expected = spec.ok(outcome(n))
  for _, text in ipairs(spellings(n)) do
    same(outcome(text), expected)
  end
  for _, word in ipairs(WORDS) do
    refuses(outcome, word)
  end
  refuses(outcome, "1.5")
  refuses(outcome, "1e300")
end

test("a nodeid may be a string", function()
  local f = support.open()
  takes_integers(0, function(nodeid)
    local answer, why = f:rpc("broker.ping", { seq = 7 }, nodeid)
    return answer and answer.seq, why
  end)
  takes_integers(0, function(nodeid)
    local answer, why = f:rpc("broker.ping", { seq = 7 }, { nodeid = nodeid })
    return answer and answer.seq, why
  end)
  takes_integers(0, function(nodeid)
    local matchtag = f:send("broker.ping", { seq = 8 }, nodeid)
    return f:recv(matchtag).seq
  end)
  takes_integers(0, function(nodeid)
    local matchtag = f:send("broker.ping", { seq = 8 }, { nodeid = nodeid })
    return f:recv(matchtag).seq
  end)
  equal(f:rpc("broker.ping", { seq = 1 }, "-1").seq, 1)
  spec.fails("No route to host", f:rpc("broker.ping", {}, ("%d"):format(f.size)))
end)

test("a timeout may be a string and may have a fraction", function()
  local f = support.open()
  local _, service = support.service()
  for _, timeout in ipairs { "0", "0.01", " 1e-2 " } do
    spec.fails("Connection timed out", f:rpc(service .. ".slow", {}, { timeout = timeout }))
    local matchtag = f:send(service .. ".slow", {}, { timeout = timeout })
    spec.fails("Connection timed out", f:recv(matchtag))
  end
  for _, wrong in ipairs { "-1", "soon", "", "1s" } do
    raises("a timeout is", f.rpc, f, "broker.ping", {}, { timeout = wrong })
    raises("a timeout is", f.send, f, "broker.ping", {}, { timeout = wrong })
  end
end)

test("a table of options is not changed", function()
  local f = support.open()
  local options = { nodeid = "0", timeout = "100" }
  for _ = 1, 3 do
    equal(f:rpc("broker.ping", { seq = 1 }, options).seq, 1)
  end
  same(options, { nodeid = "0", timeout = "100" })
end)

test("a matchtag may be a string", function()
  local f = support.open()
  for _, receive in ipairs { "recv", "recvmsg" } do
    for _, pattern in ipairs { "%d", " %d", "0x%x", "%d.0" } do
      local first, second = f:send("broker.ping", { seq = 1 }), f:send("broker.ping", { seq = 2 })
      for seq, matchtag in pairs { [2] = second, [1] = first } do
        local answer = spec.ok(f[receive](f, pattern:format(matchtag)))
        local payload = receive == "recv" and answer or answer.data
        equal(payload.seq, seq)
      end
    end
    for _, word in ipairs { "", "x", "5x", "1.5", "-1", "4294967296" } do
      raises("bad argument", f[receive], f, word)
    end
  end
end)

test("a wait status may be a string", function()
  for _, status in ipairs { "256", " 256 ", "0x100", "256.0" } do
    spec.returns({ "exited", 1 }, flux.exitstatus(status))
  end
  spec.returns({ "killed", 9 }, flux.exitstatus "9")
  for _, word in ipairs(WORDS) do
    raises("number expected, got string", flux.exitstatus, word)
  end
  raises("an integer from", flux.exitstatus, "1.5")
  raises("an integer from", flux.exitstatus, "4294967296")
end)

test("an errno may be a string", function()
  takes_integers(2, flux.strerror)
end)

test("the nprocs of a barrier may be a string, and its name a number", function()
  local f = support.open()
  local name = integer(unique_number())
  takes_integers(1, function(nprocs)
    return f:barrier(name, nprocs)
  end)
  spec.returns({ 0 }, f:barrier(1.5, 1))
end)

test("a log level may be a string, and the text a number", function()
  local f = support.open()
  takes_integers(6, function(level)
    return f:log(level, "text")
  end)
  spec.returns({ 0 }, f:log("info", 5))
  spec.returns({ 0 }, f:log("6", 1.5))
  raises("a level is 0 to 7", f.log, f, "chatty", "text")
  raises("an integer from 0 to 7", f.log, f, "8", "text")
end)

test("an attribute's name may be a number", function()
  local f = support.open()
  local name = integer(unique_number())
  spec.fails("No such file or directory", f:getattr(name))
  if f:rpc("attr.set", { name = tostring(name), value = "mine" }) then
    equal(f:getattr(name), "mine")
  end
end)

test("a URI may be a number", function()
  local _, text = flux.new "42"
  spec.fails(text, flux.new(42))
end)

test("the topic of an event may be a number", function()
  local f = support.open()
  for _, number in ipairs { integer(unique_number()), 1.5, 2 ^ 60 } do
    local text = number .. ""
    spec.returns({ 0 }, f:subscribe(number))
    spec.returns({ 0 }, f:sendevent({ n = 1 }, number))
    local payload, topic = f:recv_event()
    equal(payload.n, 1)
    equal(topic, text)
    spec.returns({ 0 }, f:sendevent(number))
    equal(select(2, f:recv_event()), text)
    spec.returns({ 0 }, f:unsubscribe(text))
    spec.returns({ 0 }, f:subscribe(text))
    spec.returns({ 0 }, f:unsubscribe(number))
  end
end)

test("the topic of a request must be a string", function()
  local f = support.open()
  for _, name in ipairs { "rpc", "send" } do
    for _, number in ipairs { 5, 1.5 } do
      raises("bad argument #2.*string expected, got number", f[name], f, number)
    end
  end
end)

test("the errnum of respond_error may be a string, and its text a number", function()
  local f = support.open "loop://"
  for _, errnum in ipairs { "71", " 71 ", "0x47", 71 } do
    f:send("x")
    spec.returns({ 0 }, f:recvmsg():respond_error(errnum, 5))
    local response = f:recv()
    equal(response.errnum, 71)
    equal(response.errstr, "5")
  end
  f:send("x")
  local request = f:recvmsg()
  for _, word in ipairs { "", "x", "5x", "1.5", "0" } do
    raises("bad argument #2", request.respond_error, request, word)
  end
end)

test("a key may be a number and means its decimal text", function()
  local f, number = numeric_key()
  local text = ("%d"):format(number)
  spec.returns({ true }, f:kvs_put(number, "value"))
  spec.ok(f:kvs_commit())
  equal(f:kvs_get(text), "value")
  equal(f:kvs_get(number), "value")
  spec.returns({ "file", "value" }, f:kvs_type(number))
  spec.returns({ true }, f:kvs_unlink(number))
  spec.ok(f:kvs_commit())
  spec.fails("No such file or directory", f:kvs_get(text))
end)

test("a key that is a float means the text that Lua gives the float", function()
  local f, number = numeric_key()
  for _, float in ipairs { number + 0.5, number + 0.1 + 0.2, number * 2 ^ 50, number / 2 ^ 60 } do
    local text = float .. ""
    spec.ok(f:kvs_put(float, text))
    spec.ok(f:kvs_commit())
    equal(f:kvs_get(text), text)
    equal(f:kvs_get(float), text)
    spec.ok(f:kvs_unlink(float))
    spec.ok(f:kvs_commit())
    spec.fails("No such file or directory", f:kvs_get(text))
  end
  -- Where Lua has integers, the text of an integral float ends with ".0".
  local whole = number * 1.0
  spec.ok(f:kvs_put(whole, 1))
  spec.ok(f:kvs_commit())
  equal(f:kvs_get(whole .. ""), 1)
end)

test("the key and target of a symlink may be numbers", function()
  local f, number = numeric_key()
  spec.returns({ true }, f:kvs_symlink(number, 42))
  spec.ok(f:kvs_commit())
  spec.returns({ "symlink", "42" }, f:kvs_type(number))
end)

test("a directory's key and the names in it may be numbers", function()
  local f, number = numeric_key()
  support.put(f, ("%d"):format(number), { ["7"] = "seven" })
  local dir = spec.ok(f:kvsdir(number))
  equal(tostring(dir), ("%d"):format(number))
  equal(tostring(f:kvsdir("%d", number)), ("%d"):format(number))
  equal(dir[7], "seven")
  dir[8] = "eight"
  spec.returns({ true }, dir:unlink(7))
  spec.ok(dir:commit())
  equal(dir["7"], nil)
  equal(dir["8"], "eight")
  equal(dir:watch(8), "eight")
  equal(kvs.watch(dir, 8, "seven"), "eight")
  spec.returns({ true }, kvs.unlink(dir, 8))
  spec.ok(kvs.commit(dir))
  equal(dir["8"], nil)
end)

test("a stream's key and the text to write may be numbers", function()
  local f, number = numeric_key()
  local out = spec.ok(f:kz_open(number, "w"))
  spec.returns({ 2 }, out:write(12))
  spec.returns({ 3 }, out:write(1.5))
  out:close()
  local input = spec.ok(f:kz_open(("%d"):format(number)))
  equal(input:read().data, "12")
  equal(input:read().data, "1.5")
  spec.fails("Expected 'r' or 'w' mode for kz_open", f:kz_open(number, 5))
end)

test("stored, sent and encoded values keep their types", function()
  local f, key = support.kvs()
  spec.ok(f:kvs_put(key, "5"))
  spec.ok(f:kvs_commit())
  equal(f:kvs_get(key), "5")
  equal(flux.json.encode { "5", 5 }, '["5",5]')
  local loop = support.open "loop://"
  loop:send("x", { text = "5", number = 5 })
  equal(loop:recvmsg().payload:match '"text":"5"', '"text":"5"')
end)

test("decode accepts a number as JSON text", function()
  equal(flux.json.decode(12), 12)
  equal(flux.json.decode(1.5), 1.5)
end)

test("a timer's timeout may be a string and stays one", function()
  local f = support.open()
  for _, timeout in ipairs { "5", " 5 ", "0x5", "5.5", "0", 5 } do
    local fired
    local w = spec.ok(f:timer {
      timeout = timeout,
      handler = function()
        fired = true
      end,
    })
    equal(w.timeout, timeout)
    equal(f:reactor(), 0)
    equal(fired, true)
  end
  for _, wrong in ipairs { "", "x", "5x", "-1", "1e999" } do
    raises("field 'timeout'", f.timer, f, { timeout = wrong, handler = print })
  end
end)

test("a handler that returns a negative number as a string stops the reactor", function()
  local f = support.open()
  f:timer {
    timeout = 0,
    handler = function()
      return "-1"
    end,
  }
  spec.fails(nil, f:reactor())
  f:timer {
    timeout = 0,
    handler = function()
      return "1"
    end,
  }
  equal(f:reactor(), 0)
end)

test("the reason of reactor_stop_error may be a number", function()
  local f = support.open()
  support.soon(f, function()
    f:reactor_stop_error(5)
  end)
  spec.returns({ nil, "5", n = 2 }, f:reactor())
  spec.fails("flux_reactor: Invalid argument", f:reactor(5))
end)

test("the pattern of a message handler may be a number, and types and roles strings", function()
  local f = support.open()
  local number = integer(unique_number())
  spec.ok(f:subscribe(number))
  local seen = {}
  local mh = spec.ok(f:msghandler {
    pattern = number,
    msgtypes = { "2", x = " 4 ", "0x1" },
    rolemask = "0x1",
    handler = function(_, msg)
      seen[#seen + 1] = msg.tag
      f:reactor_stop()
    end,
  })
  same(mh.msgtypes, { "2", x = " 4 ", "0x1" })
  spec.ok(f:sendevent(number))
  support.run(f)
  same(seen, { ("%d"):format(number) })
  mh:remove()
  -- These types do not include events.
  mh = spec.ok(f:msghandler { pattern = number, msgtypes = { "1", "2" }, handler = error })
  spec.ok(f:sendevent(number))
  support.run_for(f, 20)
  mh:remove()
  for _, word in ipairs { "", "x", "4x", "1.5", "16", "0" } do
    spec.fails("Invalid typemask in msghandler", f:msghandler { pattern = "*", msgtypes = { word }, handler = print })
  end
  for _, word in ipairs { "", "x", "1x", "1.5", "-1" } do
    raises("field 'rolemask'", f.msghandler, f, { pattern = "*", rolemask = word, handler = print })
  end
end)

test("a descriptor and its events may be strings", function()
  local f = support.open()
  local reader, read_fd, writer, write_fd = support.fifo()
  for _, events in ipairs { "2", " 2 ", "0x2", 2, "w" } do
    for _, fd in ipairs(spellings(write_fd)) do
      local ready
      spec.ok(f:fdwatcher {
        fd = fd,
        events = events,
        handler = function(w, what)
          ready = what
          w:remove()
        end,
      })
      equal(f:reactor(), 0)
      equal(ready, 2)
    end
  end
  writer:write "line\n"
  local line
  spec.ok(f:iowatcher {
    fd = ("%d"):format(read_fd),
    handler = function(w, block)
      line = block.data
      w:remove()
    end,
  })
  equal(f:reactor(), 0)
  equal(line, "line\n")
  reader:close()
  for _, word in ipairs { "", "x", "1x", "1.5", "-1" } do
    raises("field 'fd'", f.fdwatcher, f, { fd = word, handler = print })
    raises("field 'fd'", f.iowatcher, f, { fd = word, handler = print })
  end
  for _, word in ipairs { "", "0", "8", "1.5", "2x" } do
    raises("field 'events'", f.fdwatcher, f, { fd = write_fd, events = word, handler = print })
  end
end)

test("the path of a statwatcher may be a number, and the interval a string", function()
  local f = support.open()
  local w = spec.ok(f:statwatcher { path = integer(unique_number()), interval = "0.1", handler = print })
  w:remove()
  local path = support.path()
  local size
  spec.ok(f:statwatcher {
    path = path,
    interval = " 0.05 ",
    handler = function(w, st)
      size = st.st_size
      w:remove()
    end,
  })
  support.soon(f, function()
    local file = assert(io.open(path, "w"))
    file:write "hello"
    file:close()
  end)
  equal(f:reactor(), 0)
  equal(size, 5)
  for _, word in ipairs { "", "x", "1s", "-1" } do
    raises("field 'interval'", f.statwatcher, f, { path = path, interval = word, handler = print })
  end
end)

test("signal numbers may be strings", function()
  local f = support.open()
  for _, signal in ipairs(spellings(10)) do
    local seen
    local w = spec.ok(f:sighandler {
      sigmask = { signal },
      handler = function(_, _, signum)
        seen = signum
        f:reactor_stop()
      end,
    })
    support.soon(f, function()
      support.kill "USR1"
    end)
    support.run(f)
    equal(seen, 10)
    w:remove()
  end
  for _, word in ipairs { "", "x", "10x", "1.5", "0" } do
    spec.fails("Mandatory table argument 'sigmask' invalid", f:sighandler { sigmask = { word }, handler = print })
  end
end)

test("the key of a watcher or a stream may be a number", function()
  local f, number = numeric_key()
  spec.ok(f:kvs_put(number, "value"))
  spec.ok(f:kvs_commit())
  local seen
  spec.ok(f:kvswatcher {
    key = number,
    handler = function(w, value)
      seen = value
      w:remove()
    end,
  })
  equal(f:reactor(), 0)
  equal(seen, "value")
  local out = spec.ok(f:kz_open(number, "w"))
  out:write "block"
  out:close()
  local blocks = {}
  spec.ok(f:iowatcher {
    key = number,
    handler = function(_, data)
      blocks[#blocks + 1] = data or "end"
    end,
  })
  equal(f:reactor(), 0)
  same(blocks, { "block", "end" })
end)
