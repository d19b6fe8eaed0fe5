-- JSON: each library decodes and encodes documents and the payloads of a few
-- messages: "decode twitter", "round joblist" (encode, then decode).

local subject, directory = ...

local documents = dofile(directory .. "documents.lua")

local LIBRARIES = {
  ["flux-lua"] = function()
    local json = require("flux").json
    return json.decode, json.encode
  end,
  ["lua-cjson"] = function()
    local cjson = require "cjson"
    -- Write floats with full precision. Some versions allow only 14 digits.
    if not pcall(cjson.encode_number_precision, 17) then
      cjson.encode_number_precision(14)
    end
    return cjson.decode, cjson.encode
  end,
  ["lua-rapidjson"] = function()
    local rapidjson = require "rapidjson"
    return rapidjson.decode, rapidjson.encode
  end,
  ["lua-simdjson"] = function()
    return require("simdjson").parse, nil
  end,
}

local PAYLOADS = {}

function PAYLOADS.ping()
  return { seq = "1", pad = "xxxxxx" }
end

function PAYLOADS.jobspec()
  local with = { { type = "core", count = 2 }, { type = "gpu", count = 1 } }
  return {
    version = 1,
    resources = { { type = "slot", count = 4, label = "task", with = with } },
    tasks = {
      { command = { "./app", "--input", "deck.in", "-v" }, slot = "task", count = { per_slot = 1 } },
    },
    attributes = {
      system = {
        duration = 3600.5,
        cwd = "/home/user",
        environment = { PATH = "/usr/bin:/bin", HOME = "/home/user", LANG = "C.UTF-8" },
      },
    },
  }
end

function PAYLOADS.joblist()
  local jobs = {}
  for n = 1, 2000 do
    jobs[n] = {
      id = n * 1000003,
      name = "job-" .. n,
      t = n * 0.37,
      ranks = { n, n + 1, n + 2 },
      ok = n % 2 == 0,
    }
  end
  return { jobs = jobs }
end

function PAYLOADS.strings()
  local strings = {}
  for n = 1, 200 do
    strings["k" .. n] = ('line of text with "quotes" and \n newlines '):rep(20)
  end
  return strings
end

local function read(path)
  local file = io.open(path, "rb")
  if not file then
    return nil
  end
  local text = file:read "*a"
  file:close()
  return text
end

-- The value, the text and the digest of a document or a payload. The digest is nil
-- for a document that came without one.
local function source(name, decode, encode)
  if PAYLOADS[name] then
    local value = PAYLOADS[name]()
    return value, encode and encode(value), documents.digest(value)
  end
  local folder = os.getenv "FLUX_LUA_JSON"
  local text = assert(read(folder .. "/" .. name .. ".json"), "no document " .. name)
  return documents.without_nulls(decode(text)), text, read(folder .. "/" .. name .. ".digest")
end

local function check_digest(value, expected)
  local digest = documents.digest(value)
  assert(not expected or digest == expected, digest .. " is not " .. tostring(expected))
  return digest
end

-- Each operation returns the function to measure and its argument. The function is the library's
-- own, because a wrapper would add a fifth to the shortest calls.
local OPERATIONS = {}

function OPERATIONS.decode(decode, _, _, text)
  return decode, text
end

function OPERATIONS.encode(_, encode, value)
  return encode, value
end

function OPERATIONS.round(decode, encode, value)
  return function()
    return decode(encode(value))
  end
end

return function(name)
  local library = LIBRARIES[subject]
  if not library then
    return nil
  end
  local decode, encode = library()
  local operation, document = name:match "^(%a+) (.*)$"
  if not encode and (operation ~= "decode" or PAYLOADS[document]) then
    return nil
  end
  local value, text, expected = source(document, decode, encode)
  local call, argument = OPERATIONS[operation](decode, encode, value, text)
  return {
    bytes = #text,
    -- For documents the collector is stopped during a run: a collection after every
    -- few of them would be part of their time at random.
    without_collector = not PAYLOADS[document],
    check = function()
      local result = call(argument)
      if type(result) == "string" then
        result = decode(result)
      end
      return check_digest(documents.without_nulls(result), expected)
    end,
    run = function(count)
      for _ = 1, count do
        call(argument)
      end
    end,
  }
end
