-- Runs one chapter of the hostile peer tests: lua run.lua BACK-END CHAPTER SERVICE.
-- A chapter is a file in this directory or a part of one, such as "large: strings".
-- Each test bounds memory and time, and checks that the handle works afterwards.

local directory = arg[0]:match "^(.*/)"
-- Load by path: package.path would find kvs.lua, the chapter, for module kvs.
for _, name in ipairs { "support", "cases" } do
  package.preload[name] = assert(loadfile(directory .. name .. ".lua"))
end

dofile(directory .. arg[2]:match "^%a+" .. ".lua")
require("support").finish()
