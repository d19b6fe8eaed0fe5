-- Watchers that read lines from a descriptor.
local flux = require "flux"
local host = host
local f = assert(flux.new(uri))
host.write "one\ntwo two two\n"
local lines = {}
assert(f:iowatcher {
  fd = host.reader,
  handler = function(w, block)
    lines[#lines + 1] = block.data
    if #lines == 2 then
      w:remove()
    end
  end,
})
local ended
assert(f:iowatcher {
  fd = host.null,
  handler = function(_, block)
    ended = block.eof and block.data == nil
  end,
})
assert(f:reactor() == 0)
assert(lines[1] == "one\n" and lines[2] == "two two two\n" and ended)
return true
