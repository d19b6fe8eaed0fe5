-- Run one chapter of what a script gets of a hostile peer's messages:
-- lua run.lua BACK-END CHAPTER SERVICE. A chapter is a file here, or a part of one:
-- "large: strings". In each memory and time are bounded, what is wrong is named,
-- and the handle is of use afterwards.

local directory = arg[0]:match "^(.*/)"
-- Not by package.path: a chapter and module kvs are both called kvs.lua.
for _, name in ipairs { "support", "cases" } do
  package.preload[name] = assert(loadfile(directory .. name .. ".lua"))
end

dofile(directory .. arg[2]:match "^%a+" .. ".lua")
require("support").finish()
