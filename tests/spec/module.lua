-- Module `flux`: opening handles, constants, wait statuses, and versions.

local flux = require "flux"
local spec = require "spec"
local support = require "support"

local test, equal, fails, raises = spec.test, spec.equal, spec.fails, spec.raises

test("requiring the module again returns the same table and sets no globals", function()
  equal(require "flux", flux)
  equal(package.loaded.flux, flux)
  equal(rawget(_G, "flux"), nil)
  equal(rawget(_G, "kvs"), nil)
end)

test("the MSGTYPE and NODEID constants have libflux's values", function()
  equal(flux.MSGTYPE_REQUEST, 1)
  equal(flux.MSGTYPE_RESPONSE, 2)
  equal(flux.MSGTYPE_EVENT, 4)
  equal(flux.MSGTYPE_ANY, 15)
  equal(flux.NODEID_ANY, 4294967295)
  equal(flux.NODEID_UPSTREAM, 4294967294)
end)

test("NULL is a light userdata that equals only itself", function()
  equal(type(flux.NULL), "userdata")
  spec.ok(flux.NULL == flux.NULL)
  spec.ok(flux.NULL ~= nil)
  equal(flux.json.encode(flux.NULL), "null")
end)

test("version returns the versions of the module, libflux-core and Lua", function()
  local ours, libflux, lua = flux.version()
  equal(select("#", flux.version()), 3)
  spec.matches(ours, "^%d+%.%d+%.%d+")
  if libflux ~= nil then
    spec.matches(libflux, "^%d+%.%d+%.%d+")
  end
  if rawget(_G, "jit") then
    spec.matches(lua, "^LuaJIT")
  else
    spec.matches(lua, "^" .. _VERSION:gsub("%.", "%%."))
  end
end)

test("version reports the libflux-core version that the broker runs", function()
  if support.is_embedded then
    spec.skip "the embedded broker does not use libflux-core"
  end
  local _, libflux = flux.version()
  local release = support.open():getattr "version"
  equal(libflux:match "^%d+%.%d+%.%d+", release:match "^%d+%.%d+%.%d+")
end)

test("new without a URI, or with nil, opens the broker that FLUX_URI names", function()
  for _, f in ipairs { support.open(), support.open(nil) } do
    equal(type(f), "userdata")
    equal(type(f.rank), "number")
  end
end)

test("new with the value of FLUX_URI opens the same instance", function()
  equal(support.open(support.uri).size, support.open().size)
end)

test("new fails for an unknown connector and names it if libflux-core is installed", function()
  fails(nil, flux.new "nosuch://x")
  local _, err = flux.new "nosuch://x"
  local _, libflux = flux.version()
  spec.matches(err, libflux and "nosuch" or "libflux%-core")
end)

test("new fails for a socket that does not exist", function()
  fails(nil, flux.new "local:///nonexistent/flux-lua-spec")
end)

test("without libflux-core, the error says so and explains how to run embedded", function()
  local _, libflux = flux.version()
  if libflux then
    spec.skip "libflux-core is installed"
  end
  local _, err = flux.new "local:///nonexistent"
  spec.matches(err, "libflux%-core")
  spec.matches(err, "embed://")
end)

test("an embedded instance has the size and rank that its URI gives", function()
  local uri = "embed://" .. support.unique "sized" .. "?size=4&rank=2"
  local f = support.open(uri)
  equal(f.size, 4)
  equal(f.rank, 2)
end)

test("embedded handles share an instance only if they use the same name", function()
  local name = support.unique "shared"
  local a = support.open("embed://" .. name .. "?size=3")
  local b = support.open("embed://" .. name .. "?rank=1")
  local other = support.open("embed://" .. support.unique "other")
  equal(b.size, 3)
  a:kvs_put("spec-shared", 1)
  spec.ok(a:kvs_commit())
  equal(b:kvs_get "spec-shared", 1)
  fails("No such file or directory", other:kvs_get "spec-shared")
end)

test("an embedded instance ends when its last handle is closed", function()
  local uri = "embed://" .. support.unique "ended"
  local f = spec.ok(flux.new(uri))
  f:kvs_put("spec-ended", 1)
  spec.ok(f:kvs_commit())
  f:close()
  fails("No such file or directory", support.open(uri):kvs_get "spec-ended")
end)

test("new fails for an embedded URI with invalid options", function()
  local name = support.unique "odd"
  local keep = support.open("embed://" .. name .. "?size=2")
  equal(keep.size, 2)
  for _, query in ipairs {
    "?size=0",
    "?size=-1",
    "?size=many",
    "?size=3",
    "?size=",
    "?rank=2",
    "?rank=-1",
    "?rank=first",
    "?nosuch=1",
    "?size=99999999999999999999",
  } do
    fails(nil, flux.new("embed://" .. name .. query))
  end
end)

test("new raises an error for a URI that is not a string", function()
  for _, wrong in ipairs { true, {}, print, io.stdout, flux.NULL } do
    raises("bad argument #1", flux.new, wrong)
  end
end)

test("new opens or refuses malformed URIs without crashing", function()
  for _, odd in ipairs { "", "\0", "embed://a\0b", "\255\254", ("x"):rep(100000), "://", "loop" } do
    local ok, f = pcall(flux.new, odd)
    if ok and f then
      f:close()
    else
      spec.refuses(flux.new, odd)
    end
  end
end)

-- Wait statuses in Linux encoding.
local WAIT_STATUSES = {
  [0x0000] = { "exited", 0 },
  [0x0300] = { "exited", 3 },
  [0xff00] = { "exited", 255 },
  [0x0009] = { "killed", 9 },
  [0x000f] = { "killed", 15 },
  [0x008b] = { "killed", 11, "core dumped" },
  [0x0086] = { "killed", 6, "core dumped" },
  [0x137f] = { "stopped", 19 },
  [0x147f] = { "stopped", 20 },
}

test("exitstatus tells exit, signal, core dump and stop apart", function()
  for status, want in pairs(WAIT_STATUSES) do
    spec.returns(want, flux.exitstatus(status))
  end
end)

test("exitstatus fails for an invalid wait status and shows it", function()
  fails("Unable to decode exit status 0xffff", flux.exitstatus(0xffff))
end)

test("exitstatus decodes what os.execute of Lua 5.1 returns", function()
  local status = os.execute "exit 7"
  if type(status) ~= "number" then
    spec.skip "os.execute of this Lua decodes the status itself"
  end
  spec.returns({ "exited", 7 }, flux.exitstatus(status))
end)

test("exitstatus raises an error for anything but an integer", function()
  for _, wrong in ipairs { "x", true, {}, 1.5, 2 ^ 70, -2 ^ 70, 0 / 0, 1 / 0 } do
    raises("bad argument #1", flux.exitstatus, wrong)
  end
  raises("bad argument #1", flux.exitstatus)
end)

test("module kvs has a function for each directory method", function()
  local kvs = require "kvs"
  for _, name in ipairs { "keys", "commit", "watch", "unlink", "watch_dir" } do
    equal(type(kvs[name]), "function")
  end
end)

test("assert returns all of its arguments if the first one is true", function()
  spec.returns({ n = 5, 1, nil, 3, nil, nil }, flux.assert(1, nil, 3, nil, nil))
  spec.returns({ "x" }, flux.assert "x")
end)

-- Returns the value that flux.assert raises. It need not be a string.
local function raised(...)
  local ok, value = pcall(flux.assert, ...)
  equal(ok, false)
  return value
end

test("assert raises the error text and the detail without a position", function()
  equal(raised(nil, "No such thing", 2, "no thing is called x"), "No such thing: no thing is called x")
  equal(raised(nil, "No such thing", 2), "No such thing")
  equal(raised(false, "No such thing", nil, ""), "No such thing")
  equal(raised(nil, "bytes \255", 2, "\0 and more"), "bytes \255: \0 and more")
end)

test("assert does not repeat a detail that the error text already ends with", function()
  equal(raised(nil, "Invalid argument: x is odd", 22, "x is odd"), "Invalid argument: x is odd")
end)

test("assert raises a value that is not a string unchanged", function()
  local value = {}
  equal(raised(nil, value, 2, "detail"), value)
  equal(raised(nil, 7, 2, "detail"), 7)
  equal(raised(nil, "text", 2, value), "text")
end)

test("assert without an error text raises 'assertion failed!'", function()
  for _, arguments in ipairs { {}, { n = 1 }, { false }, { n = 3, nil, nil, 2 } } do
    equal(raised(support.unpack(arguments, 1, arguments.n or #arguments)), "assertion failed!")
  end
end)

test("assert raises the service's error text when an rpc fails", function()
  local f = support.open()
  local _, err, _, detail = f:rpc "nosuchservice.method"
  equal(raised(f:rpc "nosuchservice.method"), err .. ": " .. detail)
  equal(raised(flux.new "embed://?size=0"), select(2, flux.new "embed://?size=0"))
end)

test("strerror returns Flux's text for an errno", function()
  equal(flux.strerror(2), "No such file or directory")
  equal(flux.strerror(113), "No route to host")
  equal(flux.strerror(0), "Success")
  equal(flux.strerror(99999), "Unknown error 99999")
  local _, err, errnum = support.open():rpc "nosuchservice.method"
  equal(flux.strerror(errnum), err)
end)

test("strerror raises an error for anything but an integer", function()
  for _, wrong in ipairs { "x", true, {}, 1.5, 2 ^ 40 } do
    raises("bad argument #1", flux.strerror, wrong)
  end
  raises("bad argument #1", flux.strerror)
end)

test("errno maps names to numbers and numbers to names", function()
  equal(flux.errno.ENOENT, 2)
  equal(flux.errno[2], "ENOENT")
  equal(flux.errno.EHOSTUNREACH, 113)
  equal(flux.errno[113], "EHOSTUNREACH")
  equal(flux.errno.ENOSUCH, nil)
  equal(flux.errno[0], nil)
  equal(flux.errno[99999], nil)
  local _, _, errnum = support.open():rpc "nosuchservice.method"
  equal(flux.errno[errnum], "ENOSYS")
end)

test("signal maps names to numbers and numbers to names", function()
  equal(flux.signal.SIGINT, 2)
  equal(flux.signal[2], "SIGINT")
  equal(flux.signal.SIGUSR1, 10)
  equal(flux.signal.SIGNOSUCH, nil)
  equal(flux.signal[0], nil)
  local _, number = flux.exitstatus(9)
  equal(flux.signal[number], "SIGKILL")
  spec.ok(flux.signal.SIGRTMIN > flux.signal.SIGSYS and flux.signal.SIGRTMAX > flux.signal.SIGRTMIN)
end)

test("a number with two names maps to the usual name", function()
  for other, usual in pairs { EWOULDBLOCK = "EAGAIN", ENOTSUP = "EOPNOTSUPP" } do
    equal(flux.errno[other], flux.errno[usual])
    equal(flux.errno[flux.errno[other]], usual)
  end
  equal(flux.signal[flux.signal.SIGPOLL], "SIGIO")
end)

test("every name maps to a number and every number to a name", function()
  local checked = 0
  for least, names in pairs { [200] = flux.errno, [60] = flux.signal } do
    local count = 0
    for key, value in pairs(names) do
      count = count + 1
      if type(key) == "number" then
        equal(names[value], key)
      else
        equal(names[names[value]], value)
      end
    end
    spec.ok(count > least, count .. " entries")
    checked = checked + 1
  end
  equal(checked, 2)
end)

test("the error and the detail show a URI that cannot be opened", function()
  for _, uri in ipairs { "embed://x?size=0", "embed://?rank=7", "nosuch://x", "x", "", "local://", "local:///nonexistent/y" } do
    local _, err, errnum, detail = flux.new(uri)
    spec.type(errnum, "number")
    spec.ok(err:find(uri, 1, true), err)
    spec.ok(detail:find(uri, 1, true), detail)
    if not uri:find "://" then
      spec.ok(err:find("'" .. uri .. "'", 1, true), err)
    end
  end
  spec.matches(select(2, flux.new "embed://a\0b"), "'embed://a\\0b'")
  spec.matches(select(2, flux.new("embed://?" .. ("x"):rep(100000))), "xxx…'%)$")
end)

test("the error names FLUX_URI if the bad URI came from there", function()
  local chunk = "print(select(2, require('flux').new()))"
  local process = support.start_apart(chunk, nil, "FLUX_URI='embed://?size=0'")
  spec.matches(process:read "*a", "FLUX_URI='embed://%?size=0'")
  process:close()
end)
