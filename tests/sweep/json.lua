-- Lua to JSON and back.
local flux = require "flux"
local json = flux.json
assert(uri)
local value = {
  list = { 1, 2.5, "three", { 4 }, true, false },
  empty = {},
  array = json.array {},
  text = 'a "text" with \\ and \n and \0',
  [12] = "a number",
  null = json.NULL,
  long = ("l"):rep(500),
}
local text = json.encode(value)
local back = assert(json.decode(text))
assert(back.list[4][1] == 4 and back.text == value.text and back["12"] == "a number")
assert(back.null == nil and #back.long == 500)
assert(json.encode(back.array) == "[]" and json.encode(back.empty) == "{}")
assert(json.decode("[null]", { null = "none" })[1] == "none")
assert(json.encode(json.array()) == "[]")
local t = json.array { 1 }
assert(json.array(t) == t)
local none, why = json.decode '{"a": [1, }'
assert(none == nil and type(why) == "string")
for _, wrong in ipairs { print, { a = { print } }, 0 / 0, "\255", { [{}] = 1 } } do
  local ok, err = pcall(json.encode, wrong)
  assert(not ok and (type(err) == "string"))
end
local deep = {}
deep.deep = deep
assert(not pcall(json.encode, deep))
local nested = ("["):rep(200) .. ("]"):rep(200)
assert(json.encode(json.decode(nested)) == nested)
return true
