-- What a script gets of a hostile peer's messages, chapter by chapter:
-- arg = { back end, chapter, the peer's service }. Memory and time are bounded,
-- what is wrong is named, and the handle is of use afterwards.

local flux = require "flux"
local kvs = require "kvs"

local back_end, chapter, service = arg[1], arg[2], arg[3]
local is_embedded = back_end == "embedded"
local f = assert(flux.new())
local victim = ("victim-%s"):format(tostring({}):match "0x(%x+)")

local MIB = 1024 * 1024
-- Whether this Lua hashes some of a long name's characters only.
local samples = not jit and tonumber(_VERSION:match "%d+%.%d+") < 5.4
local failed = 0

-- A failed check, with what was there.
local function check(holds, what, ...)
  if holds then
    return
  end
  local values = {}
  for i = 1, select("#", ...) do
    values[i] = ("%q"):format(tostring((select(i, ...)))):sub(1, 200)
  end
  error(what .. ": " .. table.concat(values, ", "), 3)
end

local function equal(got, wanted, what)
  check(got == wanted, (what or "value") .. " is not " .. tostring(wanted), got)
end

-- What a failed call returned: the texts, and their bounds.
local function refused(text, errnum, value, err, code, detail)
  check(value == nil and err == text, "not nil, " .. text, value, err, code, detail)
  equal(code, errnum, "errno")
  return detail
end

local function malformed(why)
  return function(...)
    local detail = refused("Protocol error", 71, ...)
    check(detail:find(why, 1, true), "the error does not say " .. why, detail)
    check(#detail < 200, "the error is too long", #detail)
  end
end

local function field(wanted)
  return function(value)
    check(type(value) == "table", "no table", value)
    equal(value.a, wanted, "field a")
  end
end

local function ask(route, name, number)
  return f:rpc(("%s.%s.%s.%s.%s"):format(service, route, name, number or 0, victim), {})
end

-- Whether this back end has a way to send that.
local SKIP = {}
local function sent(route, name, number)
  local _, err, code = ask(route, name, number)
  if code == 95 and is_embedded then
    error(SKIP)
  end
  check(_ ~= nil, "the peer did not send " .. name, err)
end

local function number_in(path, pattern)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return tonumber(text:match(pattern))
end

-- The work grows the process by so many bytes at most, and takes so many seconds.
local function bounded(bytes, seconds, work)
  collectgarbage()
  collectgarbage()
  local reset = assert(io.open("/proc/self/clear_refs", "w"))
  reset:write "5"
  reset:close()
  local before = number_in("/proc/self/status", "VmRSS:%s*(%d+)") * 1024
  local started = number_in("/proc/uptime", "^(%S+)")
  work()
  local took = number_in("/proc/uptime", "^(%S+)") - started
  local grown = number_in("/proc/self/status", "VmHWM:%s*(%d+)") * 1024 - before
  check(took <= seconds, ("it took more than %g s"):format(seconds), took)
  check(grown <= bytes, ("it took more than %.0f MiB"):format(bytes / MIB), grown / MIB)
  return ("%.0f MiB, %.1f s"):format(grown / MIB, took)
end

local function test(name, body)
  local ok, said = pcall(body)
  -- The handle is as it was.
  if ok then
    local pong, err = f:rpc("broker.ping", { seq = 7 }, { timeout = 20 })
    ok, said = pong and pong.seq == 7, pong and said or err
  end
  if ok then
    print(("ok %s, %s%s"):format(back_end, name, said and " (" .. said .. ")" or ""))
  elseif said == SKIP then
    print(("skip %s, %s: this back end cannot send it"):format(back_end, name))
  else
    failed = failed + 1
    print(("not ok %s, %s: %s"):format(back_end, name, tostring(said)))
  end
end

local function nothing(value)
  check(type(value) == "table" and next(value) == nil, "no empty table", value)
end

local infinity = malformed "number out of range"

-- A payload's name and size, and what is to come of it.
local PAYLOADS = {
  { "none", 0, nothing },
  { "empty", 0, nothing },
  { "object", 0, field(1) },
  -- The NUL that ends a string is no part of what the embedded broker carries.
  { "terminated", 0, is_embedded and malformed "unexpected text after the value" or field(1) },
  { "nul", 0, is_embedded and malformed "expected a value at byte 1" or nothing },
  { "nuls", 0, malformed "expected a value at byte 1" },
  { "nul-inside", 0, malformed "unexpected text after the value at byte 8" },
  { "nul-in-string", 0, malformed "control character in a string" },
  { "escaped-nul", 0, function(value) equal(value["a\0b"], "x\0y") end },
  { "binary", 0, malformed "invalid UTF-8 at byte 129" },
  { "not-utf8", 0, malformed "invalid UTF-8 at byte 7" },
  { "surrogate", 0, malformed "lone surrogate at byte 7" },
  { "cut", 0, malformed "unexpected end of text" },
  { "trailing", 0, malformed "unexpected text after the value at byte 8" },
  { "null", 0, malformed "not an object" },
  { "number", 0, malformed "not an object" },
  { "text", 0, malformed "not an object" },
  { "array", 0, function(value) equal(#value, 2) equal(value[2], 2) end },
  { "duplicate", 0, field(2) },
  { "huge-exponent", 0, infinity },
  { "tiny-exponent", 0, field(0) },
  { "percent", 0, field "%s%n%d%1$*2$x" },
  { "control", 0, field "\27]0;title\7\r\n" },
  { "deep", 999, function(value) check(type(value.a) == "table", "no table", value.a) end },
  { "deep", 1000, function(value) check(type(value.a) == "table", "no table", value.a) end },
  { "deep", 1001, malformed "nesting deeper than 1000" },
}

local chapters = {}

chapters["payloads"] = function()
  for _, case in ipairs(PAYLOADS) do
    local name, n, expect = case[1], case[2], case[3]
    local title = n > 0 and name .. " " .. n or name
    test("rpc gets payload " .. title, function()
      expect(ask("respond", name, n))
    end)
    test("recv gets payload " .. title, function()
      local tag = assert(f:send(("%s.respond.%s.%d"):format(service, name, n), {}))
      expect(f:recv(tag))
    end)
  end
end

-- errnum, and the text that it stands for.
local ERRNUMS = {
  { 1, "Operation not permitted" },
  { 4, "Interrupted system call" },
  { 11, "Resource temporarily unavailable" },
  { 110, "Connection timed out" },
  { 9999, "Unknown error 9999" },
  { 2147483647, "Unknown error 2147483647" },
  { -1, "Unknown error -1" },
  { -2147483648, "Unknown error -2147483648" },
}

local TEXTS = {
  none = function(detail) equal(detail, nil) end,
  empty = function(detail) check(detail == nil or detail == "", "a text", detail) end,
  mebibyte = function(detail) equal(detail, ("x"):rep(MIB)) end,
  percent = function(detail) equal(detail, "%s%n%d%1$*2$x") end,
  control = function(detail) equal(detail, "line\r\n\27[2Jline") end,
}

chapters["errors"] = function()
  for _, case in ipairs(ERRNUMS) do
    local errnum, text = case[1], case[2]
    for name, expect in pairs(TEXTS) do
      test(("rpc gets error %.0f, text %s"):format(errnum, name), function()
        -- On a real instance a text is a string, and ends with a NUL.
        local wanted = is_embedded and expect or function(detail)
          check(detail == nil or #detail <= MIB, "too long", detail)
        end
        wanted(refused(text, errnum, ask("fail", name, ("%.0f"):format(errnum))))
      end)
    end
    test(("recv gets error %.0f"):format(errnum), function()
      local tag = f:send(("%s.fail.percent.%.0f"):format(service, errnum), {})
      local response = assert(f:recv(tag))
      equal(response.errnum, errnum)
      equal(response.errstr, "%s%n%d%1$*2$x")
    end)
  end
  for _, name in ipairs { "not-utf8", "nul" } do
    test("rpc gets an error text of " .. name, function()
      local value, err, code, detail = ask("fail", name, 5)
      if code == 95 and is_embedded then
        error(SKIP)
      end
      detail = refused("Input/output error", 5, value, err, code, detail)
      check(detail == nil or #detail < 30, "too long", detail)
    end)
  end
  test("an error text of a peer's is no format", function()
    local ok, said = pcall(function()
      assert(ask("fail", "percent", 5))
    end)
    check(not ok and tostring(said):find("Input/output error", 1, true), "not said", said)
  end)
end

-- A handle for the length of a test: a surplus response stays on it.
local function on_a_handle(body)
  return function()
    local own = f
    f = assert(flux.new())
    local ok, said = pcall(body)
    f:close()
    f = own
    if not ok then
      error(said, 0)
    end
  end
end

-- What a call returns is well formed, whosever response it takes. libflux uses
-- a matchtag again at once, so that on a real instance a surplus response can
-- be taken for the next call's.
local function later_calls_end(must_match)
  for i = 1, 50 do
    local pong, err, code = f:rpc("broker.ping", { seq = i }, { timeout = 20 })
    check(type(pong) == "table" or (pong == nil and type(code) == "number"), "malformed", pong, err)
    if must_match then
      equal(pong.seq, i)
    end
  end
end

chapters["responses"] = function()
  for _, payload in ipairs { "object", "binary" } do
    test("a second response to an rpc does no harm, of " .. payload, on_a_handle(function()
      local first = ask("twice", payload, 0)
      check(payload == "binary" or first.a == 1, "not the first", first)
      later_calls_end(is_embedded)
    end))
  end
  test("a response to nobody's matchtag goes to nobody's rpc", on_a_handle(function()
    for _ = 1, 20 do
      sent("stranger", "object", 0)
    end
    later_calls_end(true)
  end))
  test("an rpc that is answered by a stream has its first response", on_a_handle(function()
    local value, err, code = ask("stream", "object", 100)
    if code == 95 and is_embedded then
      error(SKIP)
    end
    check(value and value.a == 1, "not the first", value, err)
    later_calls_end(false)
  end))
  test("a request of send's that is answered by a stream has each response", on_a_handle(function()
    local tag = f:send(("%s.stream.object.5"):format(service), {})
    for _ = 1, is_embedded and 0 or 5 do
      equal(assert(f:recv(tag)).a, 1)
    end
    later_calls_end(true)
  end))
  test("10,000 responses that nobody waits for are no memory that stays", function()
    return bounded(100 * MIB, 60, function()
      for _ = 1, 10000 do
        f:send(("%s.respond.object.0"):format(service), {})
        assert(f:recv())
      end
    end)
  end)
  test("control messages are none of the script's", function()
    sent("control", "x", 0)
  end)
  test("the name of a service that is the broker's is refused", function()
    local value, _, code = f:rpc("service.add", { service = "kvs" })
    check(value == nil and code == 17, "not EEXIST", value, code)
  end)
end

local function next_event(seconds)
  local timer = f:timer { timeout = seconds * 1000, handler = function(h) h:reactor_stop() end }
  local got
  local mh = f:msghandler {
    pattern = victim .. ".*",
    msgtypes = { flux.MSGTYPE_EVENT },
    handler = function(h, msg)
      got = msg
      h:reactor_stop()
    end,
  }
  f:reactor()
  timer:remove()
  mh:remove()
  return got
end

chapters["events"] = function()
  assert(f:subscribe("%s.event", victim))
  for _, case in ipairs(PAYLOADS) do
    local name, n, expect = case[1], case[2], case[3]
    test(("recv_event gets payload %s %d"):format(name, n), function()
      sent("event", name, n)
      expect(f:recv_event())
    end)
  end
  test("a topic that only begins like the pattern is not the handler's", function()
    local exact, all = 0, 0
    local one = f:msghandler {
      pattern = victim .. ".event",
      msgtypes = { flux.MSGTYPE_EVENT },
      handler = function() exact = exact + 1 end,
    }
    local any = f:msghandler {
      pattern = victim .. "*",
      msgtypes = { flux.MSGTYPE_EVENT },
      handler = function(h, msg)
        all = all + 1
        equal(msg.tag, victim .. ".event-but-longer")
        h:reactor_stop()
      end,
    }
    sent("topic", "prefix")
    f:reactor()
    one:remove()
    any:remove()
    equal(exact, 0)
    equal(all, 1)
  end)
  assert(f:subscribe("%s", victim))
  for name, tail in pairs {
    percent = "%s%n%d",
    glob = "*?[a-",
    control = "a\27[2J\r\nb",
    [" "] = " ",
  } do
    test("an event's topic may be " .. name, function()
      sent("topic", name, 0)
      local msg = next_event(10)
      check(msg, "no event came")
      equal(msg.tag, victim .. "." .. tail)
      check(tostring(msg):find(victim, 1, true), "tostring", tostring(msg))
    end)
  end
  test("an event's topic of a MiB is one", function()
    sent("topic", "long", MIB)
    local msg = next_event(20)
    check(msg, "no event came")
    equal(#msg.tag, MIB + #victim + 1)
    check(#tostring(msg) < 1000, "tostring is too long", #tostring(msg))
  end)
end

chapters["requests"] = function()
  local server = assert(flux.new())
  assert(server:rpc("service.add", { service = victim }))
  local function receive(route, name, n)
    sent(route, name, n)
    return assert(server:recvmsg())
  end
  for _, case in ipairs(PAYLOADS) do
    local name, n = case[1], case[2]
    test(("a request has payload %s %d"):format(name, n), function()
      local msg = receive("request", name, n)
      equal(msg.type, "request")
      local value, err, code, detail = msg.data, nil, nil, nil
      if value == nil then
        value, err, code, detail = getmetatable(msg).__index(msg, "data")
        check(err == nil or (err == "Protocol error" and code == 71), "no reason", err, code)
        check(detail == nil or #detail < 200, "too long", detail)
      end
      check(msg.payload == nil or type(msg.payload) == "string", "no text", msg.payload)
      -- It may be answered whatever it holds.
      equal(msg:respond { ok = true }, 0)
      equal(msg:respond_error(22, "no"), 0)
    end)
  end
  for _, name in ipairs { "percent", "glob", "control", "long" } do
    test("a request's topic may be " .. name, function()
      local msg = receive("request-topic", name, 100000)
      equal(msg.tag:sub(1, #victim + 1), victim .. ".")
      check(#tostring(msg) < 1000, "tostring is too long", #tostring(msg))
    end)
  end
  test("a handler that raises at a peer's text is told of in bounded memory", function()
    local mh = server:msghandler {
      pattern = victim .. ".hit",
      msgtypes = { flux.MSGTYPE_REQUEST },
      handler = function(_, msg)
        error(msg.payload, 0)
      end,
    }
    local grown = bounded(250 * MIB, 30, function()
      sent("request", "mebibytes", 16)
      local ok, said = pcall(server.reactor, server)
      check(not ok and #tostring(said) >= 16 * MIB, "not raised", ok)
    end)
    mh:remove()
    return grown
  end)
  server:close()
end

-- A guest's request reaches only handlers that were opened to guests.
chapters["guests"] = function()
  local server = assert(flux.new())
  assert(server:rpc("service.add", { service = victim }))
  local seen = {}
  local function handle(rolemask)
    return server:msghandler {
      pattern = victim .. ".*",
      msgtypes = { flux.MSGTYPE_REQUEST },
      rolemask = rolemask,
      handler = function(h, msg)
        seen[#seen + 1] = { userid = msg.userid, rolemask = msg.rolemask }
        h:reactor_stop()
      end,
    }
  end
  local function run(seconds)
    local timer = server:timer { timeout = seconds * 1000, handler = function(h) h:reactor_stop() end }
    server:reactor()
    timer:remove()
  end
  test("a guest's request is not the handler's", function()
    local mh = handle()
    sent("guest", "object", 2)
    run(0.5)
    equal(#seen, 0)
    -- The owner's is.
    sent("request", "object", 0)
    run(10)
    equal(#seen, 1)
    equal(seen[1].rolemask % 2, 1)
    mh:remove()
  end)
  test("a handler for guests gets a guest's request, and who it is of", function()
    seen = {}
    local mh = handle(2)
    sent("guest", "object", 2)
    run(10)
    equal(#seen, 1)
    equal(seen[1].userid, 12345)
    equal(math.floor(seen[1].rolemask / 2) % 2, 1, "a guest")
    equal(seen[1].rolemask % 2, 0, "the owner")
    mh:remove()
  end)
  test("a handler for other roles does not get a guest's request", function()
    seen = {}
    local mh = handle(0x10)
    sent("guest", "object", 2)
    run(0.5)
    equal(#seen, 0)
    mh:remove()
  end)
  test("a guest's event is not the handler's", function()
    assert(server:subscribe("%s.event", victim))
    local events = {}
    local mh = server:msghandler {
      pattern = victim .. ".event",
      msgtypes = { flux.MSGTYPE_EVENT },
      handler = function(h, msg)
        events[#events + 1] = msg.userid
        h:reactor_stop()
      end,
    }
    sent("guest-event", "object", 2)
    sent("event", "object", 0)
    run(10)
    equal(#events, 1)
    check(events[1] ~= 12345, "the guest's", events[1])
    mh:remove()
  end)
  test("recvmsg returns a guest's request, and says so", function()
    sent("guest", "object", 2)
    local msg = assert(server:recvmsg())
    equal(msg.userid, 12345)
    equal(msg.rolemask % 2, 0)
  end)
  server:close()
end

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local function base64(bytes)
  local out = {}
  for i = 1, #bytes, 3 do
    local a, b, c = bytes:byte(i, i + 2)
    local word = a * 65536 + (b or 0) * 256 + (c or 0)
    for n = 3, 0, -1 do
      local at = math.floor(word / 64 ^ n) % 64 + 1
      out[#out + 1] = 3 - n > (c and 3 or b and 2 or 1) and "=" or ALPHABET:sub(at, at)
    end
  end
  return table.concat(out)
end

local function commit(key, dirent)
  local op = { key = key, flags = 0, dirent = dirent }
  return f:rpc("kvs.commit", { namespace = "primary", flags = 0, ops = flux.json.array { op } })
end

local function store(key, bytes)
  assert(commit(key, { type = "val", ver = 1, data = base64(bytes) }))
end

chapters["kvs"] = function()
  for name, bytes in pairs {
    binary = "\0\1\254\255",
    ["not-utf8"] = "\"\255\"",
    bare = "hello",
    scalar = "5",
    percent = "%s%n",
    brackets = ("["):rep(2000),
  } do
    test("a value may be " .. name, function()
      store(victim .. ".v", bytes)
      local value, err = f:kvs_get(victim .. ".v")
      check(value == (name == "scalar" and 5 or bytes), "another", value, err)
      local kind, same = f:kvs_type(victim .. ".v")
      equal(kind, "file")
      equal(same, value)
      equal(f:kvsdir(victim).v, value)
    end)
  end
  for name, dirent in pairs {
    base64 = { type = "val", ver = 1, data = "!!!!" },
    version = { type = "val", ver = 99, data = "" },
    kind = { type = "x", ver = 1, data = "" },
    reference = { type = "dirref", ver = 1, data = flux.json.array { "no-blobref" } },
    missing = { type = "val", ver = 1 },
    number = { type = "val", ver = 1, data = 5 },
  } do
    test("an object whose " .. name .. " is wrong is refused, or an error to read", function()
      local done, err = commit(victim .. ".broken", dirent)
      if done then
        local value, why = f:kvs_get(victim .. ".broken")
        check(value == nil and type(why) == "string", "not refused", value, why)
        f:kvs_unlink(victim .. ".broken")
        assert(f:kvs_commit())
      else
        check(type(err) == "string" and #err < 200, "no reason", err)
      end
    end)
  end
  test("symlinks in a circle are an error", function()
    assert(f:kvs_symlink(victim .. ".one", victim .. ".two"))
    assert(f:kvs_symlink(victim .. ".two", victim .. ".one"))
    assert(f:kvs_commit())
    refused("Too many levels of symbolic links", 40, f:kvs_get(victim .. ".one"))
    refused("Too many levels of symbolic links", 40, f:kvs_get(victim .. ".one.x"))
    equal(f:kvs_type(victim .. ".one"), "symlink")
  end)
  if is_embedded then
    test("symlinks that multiply are followed for a bounded time", function()
      -- Each leads nine times over the one before it.
      f:kvs_symlink("m0", ".")
      for i = 1, 9 do
        f:kvs_symlink("m" .. i, ("m%d."):format(i - 1):rep(9):sub(1, -2))
      end
      assert(f:kvs_commit())
      return bounded(50 * MIB, 10, function()
        local value, err = f:kvs_get "m9.x"
        check(value == nil and type(err) == "string", "not refused", value, err)
      end)
    end)
    test("a key of a hundred thousand names is a key", function()
      return bounded(400 * MIB, 60, function()
        local key = victim .. ".deep" .. (".a"):rep(100000)
        local done, err = commit(key, { type = "val", ver = 1, data = "MQ==" })
        check(done or type(err) == "string", "no reason", err)
        check(f:kvs_get(key) == 1, "another value")
        f:kvs_unlink(victim .. ".deep")
        assert(f:kvs_commit())
      end)
    end)
  end
  test("names that are no names are read as they are", function()
    for _, name in ipairs { "%s%n", "\27[2J", " ", "a\nb", ("n"):rep(10000) } do
      assert(f:kvs_put(victim .. ".names." .. name, 1))
      assert(f:kvs_commit())
      equal(f:kvsdir(victim .. ".names")[name], 1)
    end
    local count = 0
    for _ in kvs.keys(f:kvsdir(victim .. ".names")) do
      count = count + 1
    end
    equal(count, 5)
  end)
  test("a stream's block that is none is an error", function()
    for _, text in ipairs {
      "5",
      "null",
      "[]",
      "{}",
      '{"eof":1}',
      '{"data":"!!!!","eof":false}',
      '{"data":5,"eof":"x"}',
      ("["):rep(100000),
    } do
      store(victim .. ".stream.000000", text)
      refused("Protocol error", 71, f:kz_open(victim .. ".stream"):read())
    end
  end)
  test("a stream's block of small objects takes memory like its text", function()
    local text = '{"eof":false,"x":[' .. ('{"":0},'):rep(1000000) .. "0]}"
    assert(f:kvs_put(victim .. ".small.000000", flux.json.decode(text)))
    assert(f:kvs_commit())
    text = nil
    collectgarbage()
    collectgarbage()
    return bounded(12 * 7 * MIB, 20, function()
      local block, err = f:kz_open(victim .. ".small"):read()
      check(block, "not read", err)
      equal(block.eof, false)
    end)
  end)
  test("a guest is not counted at a barrier", function()
    if not is_embedded then
      error(SKIP)
    end
    -- The peer enters as a guest, and half a second later as the owner.
    local started = number_in("/proc/uptime", "^(%S+)")
    f:send(("%s.barrier.%s.2.%s"):format(service, victim, victim), {})
    equal(f:barrier(victim, 2), 0)
    check(number_in("/proc/uptime", "^(%S+)") - started > 0.4, "released by the guest")
    assert(f:recv())
  end)
  test("a barrier's place that is none is no place", function()
    store("flux-lua.barrier.=" .. victim, '{"rank":-1,"service":5}')
    equal(f:barrier(victim, 1), 0)
  end)
  f:kvs_unlink(victim)
  assert(f:kvs_commit())
end

-- A response of so many bytes at most, and so many times that in memory.
local function large(title, name, n, bytes, times, seconds, expect)
  test(title, function()
    -- On the embedded broker the peer's own copies are among it.
    local limit = bytes * times + 32 * MIB
    return bounded(limit, seconds, function()
      expect(ask("respond", name, n))
    end)
  end)
end

chapters["large strings"] = function()
  for _, n in ipairs { 1, 64, 256 } do
    large(("a string of %d MiB"):format(n), "mebibytes", n, n * MIB, 5, 60, function(value, err)
      check(value, "refused", err)
      equal(#value.a, n * MIB)
    end)
  end
end

chapters["large arrays"] = function()
  large("an array of ten million zeros", "zeros", 10000000, 20 * MIB, 30, 60, function(value, err)
    check(value, "refused", err)
    equal(#value.a, 10000000)
    equal(value.a[10000000], 0)
  end)
end

chapters["large nesting"] = function()
  large("a million brackets", "brackets", 1000000, MIB, 30, 10, malformed "nesting deeper than 1000")
  large("a million objects", "names", 1000000, 5 * MIB, 30, 10, malformed "nesting deeper than 1000")
  large("64 Mi brackets", "brackets", 64 * MIB, 64 * MIB, 5, 30, malformed "nesting deeper than 1000")
end

chapters["large numbers"] = function()
  large("a number of 100,000 digits", "digits", 100000, MIB, 30, 10, infinity)
  large("a number of 300 digits", "digits", 300, MIB, 30, 10, function(value)
    check(value.a > 1e299 and value.a < 1e300, "another", value.a)
  end)
  large("a fraction of ten million digits", "fraction", 10000000, 10 * MIB, 10, 10, function(value)
    check(value.a > 0.11 and value.a < 0.12, "another", value.a)
  end)
end

chapters["many names"] = function()
  large("a million names", "keys", 1000000, 18 * MIB, 20, 60, function(value, err)
    check(value, "refused", err)
    equal(value.key0, 0)
    equal(value.key999999, 999999)
  end)
end

chapters["long names"] = function()
  -- Where some characters count for a name's hash, these have few of them.
  local n = samples and 10000 or 100000
  large(n .. " long names that begin alike", "long-keys", n, n * 140, 20, 60, function(value, err)
    check(value, "refused", err)
    local x = ("x"):rep(60)
    equal(value[("%s%08d%s"):format(x, n - 1, x)], n - 1)
  end)
end

-- Names that differ in no character that counts are compared one by one: that
-- is Lua's to bear, within what a payload of this size can cost.
chapters["names of equal hash"] = function()
  large("10,000 names of equal hash", "equal-hash", 10000, 3 * MIB, 30, 60, function(value, err)
    check(value, "refused", err)
    local count = 0
    for _ in pairs(value) do
      count = count + 1
    end
    equal(count, 10000)
  end)
end

chapters["small arrays"] = function()
  large("three million empty arrays", "empty-tables", 3000000, 9 * MIB, 45, 60, function(value, err)
    check(value, "refused", err)
    equal(#value.a, 3000000)
  end)
end

chapters["small objects"] = function()
  large("a million objects of one field", "small-objects", 1000000, 7 * MIB, 45, 60, function(value, err)
    check(value, "refused", err)
    equal(value.a[1000000][""], 0)
  end)
end

chapters["a table after a large one"] = function()
  large("a small object after 2^22 + 1 zeros", "table-after-zeros", 4194305, 8 * MIB, 20, 30, function(value, err)
    check(value, "refused", err)
    equal(value.a[2].b, 1)
  end)
end

-- The instance has no KVS: lookups are answered by an impostor.
chapters["impostor"] = function()
  local function unreadable(name, n, ...)
    local key = ("%s.%d"):format(name, n)
    for _, method in ipairs { ... } do
      test(("%s gets %s %d"):format(method, name, n), function()
        return bounded(400 * MIB, 30, function()
          local value, err, code, detail = f[method](f, key)
          check(value == nil and type(err) == "string" and type(code) == "number", "not refused", value, err)
          check(#err < 200 and (detail == nil or #detail < 200), "too long", err, detail)
        end)
      end)
    end
  end
  test("what is well formed is read", function()
    equal(f:kvs_get "good.0", 1)
  end)
  for _, name in ipairs {
    "base64", "number", "missing", "no-val", "not-json", "scalar", "version", "kind", "dirref",
    "dirrefs", "symlink", "symlink-to-nowhere", "namespace", "null",
  } do
    unreadable(name, 0, "kvs_get", "kvsdir")
  end
  unreadable("valrefs", 100000, "kvs_get", "kvsdir")
  for _, name in ipairs { "entry", "entry-kind", "list" } do
    unreadable(name, 0, "kvsdir")
  end
  unreadable("deep", 100, "kvsdir")
  unreadable("deep", 100000, "kvsdir")
  test("kvs_type gets symlinks that are none", function()
    for _, key in ipairs { "symlink.0", "symlink-to-nowhere.0", "base64.0", "kind.0" } do
      local kind, err = f:kvs_type(key)
      check(kind == nil and type(err) == "string", "not refused", kind, err)
    end
  end)
  test("a symlink's target with a NUL is read as it is", function()
    local kind, target = f:kvs_type "nul-target.0"
    check(kind == nil or target == "a\0b", "another", kind, target)
  end)
  test("names of a directory are what they are", function()
    for key, wanted in pairs { ["dots.0"] = 3, ["percent.0"] = 2 } do
      local dir, err = f:kvsdir(key)
      check(dir, "refused", err)
      local count = 0
      for name in dir:keys() do
        check(type(name) == "string", "no text", name)
        count = count + 1
      end
      equal(count, wanted, key)
    end
  end)
  test("a watch of a directory that comes to be none ends with an error", function()
    local values = {}
    local w = assert(f:kvswatcher {
      key = "dots.0",
      isdir = true,
      handler = function(_, value, errnum)
        values[#values + 1] = { value, errnum }
        f:reactor_stop()
      end,
    })
    local timer = f:timer { timeout = 10000, handler = function() f:reactor_stop() end }
    f:reactor()
    timer:remove()
    w:remove()
    equal(#values, 1)
    equal(values[1][1], nil)
    equal(values[1][2], 71)
  end)
  test("a directory of 300,000 names takes memory like its text", function()
    return bounded(13 * MIB * 40, 60, function()
      local dir, err = f:kvsdir "names.300000"
      check(dir, "refused", err)
      local count = 0
      for _ in dir:keys() do
        count = count + 1
      end
      equal(count, 300000)
    end)
  end)
  test("a value of 64 MiB is read", function()
    return bounded(64 * MIB * 8, 60, function()
      local value, err = f:kvs_get(("large.%d"):format(math.floor(64 * MIB / 3)))
      check(value, "refused", err)
      equal(#value, math.floor(64 * MIB / 3) * 3)
    end)
  end)
end

chapters[chapter]()
f:close()
io.stdout:flush()
if failed > 0 then
  error(("%d failed"):format(failed), 0)
end
