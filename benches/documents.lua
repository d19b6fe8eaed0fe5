-- Generates the JSON documents of the benchmark: `lua documents.lua FOLDER` writes
-- them to FOLDER. They have the structure of the documents that JSON libraries are
-- usually measured with, and are the same on every machine. Also computes digests
-- of Lua values, to compare the results of different libraries.

local documents = {}

-- Stands for null in the tables here, because a Lua table cannot hold a nil.
local NULL = {}

-- The Park-Miller generator. Its numbers are exact in doubles, so they are the same
-- in every Lua. Returns a function that returns a random integer below its argument.
local function generator(seed)
  local state = seed
  return function(limit)
    state = state * 16807 % 2147483647
    return state % limit
  end
end

-- é and slashes are escaped too, as in some of the original documents.
local ESCAPES = {
  ['"'] = '\\"',
  ["\\"] = "\\\\",
  ["/"] = "\\/",
  ["\n"] = "\\n",
  ["\195\169"] = "\\u00e9",
}

local function quoted(text)
  text = text:gsub('["\\/\n]', ESCAPES):gsub("\195\169", ESCAPES)
  return '"' .. text .. '"'
end

local function sorted_names(object)
  local names = {}
  for name in pairs(object) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

local write

-- Write the items of an array or an object. With a `margin` (a newline and the
-- indentation), each item is on its own line.
local function write_items(out, open, items, close, margin)
  local inner = margin and margin .. "  "
  out[#out + 1] = open
  for n, item in ipairs(items) do
    out[#out + 1] = n > 1 and "," or ""
    out[#out + 1] = inner or ""
    if item.name then
      out[#out + 1] = quoted(item.name) .. (margin and ": " or ":")
    end
    write(out, item.value, inner)
  end
  out[#out + 1] = margin or ""
  out[#out + 1] = close
end

function write(out, value, margin)
  if value == NULL then
    out[#out + 1] = "null"
  elseif type(value) == "string" then
    out[#out + 1] = quoted(value)
  elseif type(value) == "number" then
    out[#out + 1] = (value % 1 == 0 and "%.0f" or "%.17g"):format(value)
  elseif type(value) == "boolean" then
    out[#out + 1] = tostring(value)
  elseif value[1] ~= nil then
    local items = {}
    for n, item in ipairs(value) do
      items[n] = { value = item }
    end
    write_items(out, "[", items, "]", margin)
  else
    local items = {}
    for n, name in ipairs(sorted_names(value)) do
      items[n] = { name = name, value = value[name] }
    end
    write_items(out, "{", items, "}", margin)
  end
end

-- Messages with many fields, few of them numbers. Some text is not ASCII.
local function tweets()
  local random = generator(1)
  local words = {
    "名前:前田あゆみ",
    "日本語のテキスト",
    "Ça va, là-bas?",
    "a caf\195\169",
    "\240\159\152\128",
    "he said \"no\"\nand left",
    "https://example.com/a/b",
    "plain words of a message",
  }
  local function sentence(length)
    local parts = {}
    for n = 1, length do
      parts[n] = words[random(#words) + 1]
    end
    return table.concat(parts, " ")
  end
  local function user()
    local id = random(2147483647)
    return {
      id = id,
      id_str = ("%.0f"):format(id),
      name = sentence(1),
      description = sentence(5),
      url = NULL,
      followers_count = random(10000),
      friends_count = random(1000),
      created_at = "Sun Aug 31 00:29:15 +0000 2014",
      utc_offset = NULL,
      verified = false,
      geo_enabled = random(2) == 1,
      profile_background_image_url = "http://example.com/images/themes/theme1/bg.png",
      profile_image_url_https = "https://example.com/profile_images/497760886795153410.jpeg",
      profile_link_color = "0084B4",
      default_profile = true,
    }
  end
  local statuses = {}
  for n = 1, 300 do
    statuses[n] = {
      metadata = { result_type = "recent", iso_language_code = "ja" },
      id = 505874924095815 + random(1000000),
      text = sentence(6),
      source = '<a href="https://example.com/download/iphone" rel="nofollow">Client</a>',
      truncated = false,
      in_reply_to_status_id = NULL,
      coordinates = NULL,
      user = user(),
      retweet_count = random(100),
      entities = {
        hashtags = { { text = words[random(4) + 1], indices = { random(50), 50 + random(50) } } },
        user_mentions = { { screen_name = "ayuu0123", id = random(1e9), indices = { 0, 9 } } },
      },
      favorited = false,
      lang = "ja",
    }
  end
  return { statuses = statuses, search_metadata = { count = 300, completed_in = 0.087 } }
end

-- Many small integers, and a few names that repeat often.
local function catalog()
  local random = generator(2)
  local function prices()
    local list = {}
    for n = 1, 3 do
      list[n] = { amount = 500 * random(500), audienceSubCategoryId = 337100890, seatCategoryId = 338937235 + n }
    end
    return list
  end
  local function areas()
    local list = {}
    for n = 1, 3 do
      local each = {}
      for m = 1, 3 + random(8) do
        each[m] = { areaId = 205705993 + random(20), blockIds = { random(10) } }
      end
      list[n] = { areas = each, seatCategoryId = 338937235 + n }
    end
    return list
  end
  local events, performances = {}, {}
  for n = 1, 240 do
    local id = 138586341 + n * 1000
    events[("%d"):format(id)] = {
      id = id,
      name = "30th Anniversary Tour",
      description = NULL,
      logo = "/images/UE0AAAAACEKo6QAAAAZDSVRN",
      subTopicIds = { 337184269, 337184283 },
      topicIds = { 324846099, 107888604 },
    }
    performances[n] = {
      eventId = id,
      id = 339887544 + n,
      name = NULL,
      prices = prices(),
      seatCategories = areas(),
      start = 1372701600000 + random(1000) * 3600000,
      venueCode = "PLEYEL_PLEYEL",
    }
  end
  return { events = events, performances = performances }
end

-- Rings of coordinates with 15 and more digits.
local function coordinates()
  local random = generator(3)
  local rings = {}
  for n = 1, 60 do
    local ring = {}
    for m = 1, 400 do
      local longitude = -141 + random(89000000) / 1000000 + random(1000000) / 1e13
      local latitude = 41 + random(42000000) / 1000000 + random(1000000) / 1e13
      ring[m] = { longitude, latitude }
    end
    rings[n] = ring
  end
  local geometry = { type = "Polygon", coordinates = rings }
  local feature = { type = "Feature", properties = { name = "Canada" }, geometry = geometry }
  return { type = "FeatureCollection", features = { feature } }
end

-- A short document of events. Most of its text is URLs.
local function events()
  local random = generator(4)
  local api = "https://api.example.com/repos/organisation/repository-with-a-name"
  local list = {}
  for n = 1, 30 do
    local id = 1652857000 + random(1000000)
    local actor = {
      id = random(1000000),
      login = "somebody" .. n,
      gravatar_id = "6d0db5d1d1d0f4c0f5b3e8a2c7a1b2c3",
      url = "https://api.example.com/users/somebody" .. n,
      avatar_url = "https://secure.example.com/avatar/6d0db5d1d1d0f4c0f5b3e8a2c7a1b2c3?d=" .. n,
    }
    local commits = {}
    for m = 1, 1 + random(4) do
      commits[m] = {
        sha = ("%08x"):format(random(2147483647)):rep(5),
        message = "Say why, not what\n\nThe rest is in the code.",
        distinct = true,
        url = api .. "/commits/" .. ("%08x"):format(random(2147483647)):rep(5),
      }
    end
    list[n] = {
      id = ("%d"):format(id),
      type = "PushEvent",
      public = true,
      actor = actor,
      repo = { id = random(1e8), name = "organisation/repository-with-a-name", url = api },
      payload = { push_id = random(1e9), ref = "refs/heads/main", commits = commits, size = #commits },
      org = NULL,
      created_at = "2013-01-10T07:58:30Z",
    }
  end
  return list
end

local KINDS = {
  twitter = { make = tweets, margin = "\n" },
  citm_catalog = { make = catalog, margin = "\n" },
  canada = { make = coordinates },
  github_events = { make = events },
}

-- The text of the document of this name.
function documents.text(name)
  local kind = KINDS[name]
  local out = {}
  write(out, kind.make(), kind.margin)
  return table.concat(out)
end

local function hash(text)
  local sum = 5381
  for n = 1, #text do
    sum = (sum * 33 + text:byte(n)) % 4294967296
  end
  return sum
end

-- Add a value to the totals. `path_hash` is a hash of the path to the value.
local function add(totals, path_hash, value)
  local kind = type(value)
  if kind == "number" then
    totals.numbers, totals.sum = totals.numbers + 1, totals.sum + value
  elseif kind == "string" then
    totals.strings = (totals.strings + hash(value) * (path_hash % 65521)) % 4294967296
  elseif kind == "boolean" then
    totals.booleans = totals.booleans + (value and 65537 or 1)
  elseif kind == "table" then
    totals.tables = totals.tables + 1
    for name, item in pairs(value) do
      add(totals, (path_hash * 31 + hash(tostring(name))) % 4294967296, item)
    end
  end
end

-- A line of text that identifies a value. It depends neither on the order of the
-- names nor on nulls.
function documents.digest(value)
  if value == NULL then
    value = nil
  end
  -- The sum is a float, because a sum of integers could wrap.
  local totals = { numbers = 0, sum = 0.0, strings = 0, booleans = 0, tables = 0 }
  add(totals, 1, value)
  return ("%d tables, %d numbers of %.9g, strings %.0f, booleans %.0f"):format(
    totals.tables,
    totals.numbers,
    totals.sum,
    totals.strings,
    totals.booleans
  )
end

local function write_file(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

-- Remove the nulls of any library from a value, in place, so that all libraries
-- encode the same value.
function documents.without_nulls(value)
  for name, item in pairs(value) do
    local kind = type(item)
    if item == NULL or kind == "userdata" or kind == "function" then
      value[name] = nil
    elseif kind == "table" then
      documents.without_nulls(item)
    end
  end
  return value
end

-- Write all documents, each with the digest of the value that it was made from.
function documents.make(folder)
  for name, kind in pairs(KINDS) do
    write_file(folder .. "/" .. name .. ".json", documents.text(name))
    write_file(folder .. "/" .. name .. ".digest", documents.digest(documents.without_nulls(kind.make())))
  end
end

if arg and arg[0] and arg[0]:find "documents%.lua$" then
  documents.make(arg[1])
end
return documents
