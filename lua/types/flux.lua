---@meta flux
-- The modules `flux` and `kvs` for lua-language-server; nothing here runs. Have
-- it find this folder: "workspace.library": ["…/lua/types"]. doc/api.md says
-- what each does.

---A string, or a number, which stands for its text.
---@alias flux.Text string|number

---A number, or a string that Lua reads as one.
---@alias flux.Number number|string

---The same of an integer.
---@alias flux.Integer integer|string

---@class flux
---@field MSGTYPE_REQUEST integer 1
---@field MSGTYPE_RESPONSE integer 2
---@field MSGTYPE_EVENT integer 4
---@field MSGTYPE_ANY integer 15
---@field NODEID_ANY integer Any broker that has the service
---@field NODEID_UPSTREAM integer The same, from this broker's parent on
---@field NULL lightuserdata JSON's null
---@field json flux.json
---@field kvs flux.kvs
---@field errno table<string|integer, integer|string> Names of errors to numbers, and back
---@field signal table<string|integer, integer|string> Names of signals to numbers, and back
local flux = {}

---Open a handle. `uri`: `FLUX_URI` unless given; `embed://[NAME][?size=N&rank=R]`
---is the broker in this process, `loop://` a loopback. Blocks until connected.
---@param uri? flux.Text
---@return flux.Handle? handle
---@return string? err
---@return integer? errnum
---@return string? detail
function flux.new(uri) end

---Decode a wait status.
---@param status flux.Integer
---@return "exited"|"killed"|"stopped"|nil what
---@return integer|string value The exit code or the signal's number; else why there is none
---@return "core dumped"? dumped
function flux.exitstatus(status) end

---Return all arguments, or raise the second and the fourth as `err: detail` where
---the first is nil or false.
---@generic T
---@param v? T
---@param ... any err, errno, detail
---@return T v
---@return any ...
function flux.assert(v, ...) end

---The text of an errno.
---@param errnum flux.Integer
---@return string text
function flux.strerror(errnum) end

---@return string module This module's version
---@return string? libflux libflux-core's, if it is found
---@return string lua The Lua that the module was built for
function flux.version() end

---@class flux.json
---@field NULL lightuserdata JSON's null
local json = {}

---Raises an error for what JSON cannot hold.
---@param value any
---@return string text
function json.encode(value) end

---@class flux.json.Options
---@field null? any What null decodes to, in place of nil

---@param text flux.Text
---@param options? flux.json.Options
---@return any value
---@return string? err
function json.decode(text, options) end

---Mark a table, a new one unless given, as an array even while it is empty.
---@generic T: table
---@param t? T
---@return T
function json.array(t) end

---Where a request goes, and how long its answer may take.
---@class flux.Options
---@field nodeid? flux.Integer
---@field timeout? flux.Number Seconds

---A connection to a broker.
---@class flux.Handle
---@field rank integer? The broker's rank
---@field size integer? How many brokers the instance has
---@field arity integer? How many children a broker has; nil where that is not fixed
local Handle = {}

---Call a service and wait for its response.
---@param topic string
---@param payload? table
---@param to? flux.Integer|flux.Options
---@return table? response
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:rpc(topic, payload, to) end

---Send a request.
---@param topic string
---@param payload? table
---@param to? flux.Integer|flux.Options
---@return integer? matchtag
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:send(topic, payload, to) end

---Wait for a response. Of an error: a table with `errnum`, and perhaps `errstr`.
---@param matchtag? flux.Integer
---@return table? response
---@return string topic Or the error's text
---@return integer? errnum
---@return string? detail
function Handle:recv(matchtag) end

---Wait for a message of any type, or for a response.
---@param matchtag? flux.Integer
---@return flux.Message? message
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:recvmsg(matchtag) end

---Publish an event.
---@param payload table?
---@param fmt flux.Text The topic
---@param ... any
---@return 0? done
---@return string? err
---@return integer? errnum
---@return string? detail
---@overload fun(self: flux.Handle, fmt: flux.Text, ...: any): 0?, string?, integer?, string?
function Handle:sendevent(payload, fmt, ...) end

---Wait for an event.
---@return table? payload
---@return string topic Or the error's text
---@return integer? errnum
---@return string? detail
function Handle:recv_event() end

---Receive the events whose topics start with this text.
---@param fmt flux.Text
---@param ... any
---@return 0? done
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:subscribe(fmt, ...) end

---@param fmt flux.Text
---@param ... any
---@return 0? done
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:unsubscribe(fmt, ...) end

---A broker attribute.
---@param name flux.Text
---@return string? value
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:getattr(name) end

---Wait until `nprocs` processes have entered `name`.
---@param name flux.Text
---@param nprocs flux.Integer
---@return 0? done
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:barrier(name, nprocs) end

---Write to the broker's log.
---@param level flux.Integer|"emerg"|"alert"|"crit"|"err"|"warning"|"notice"|"info"|"debug"
---@param fmt flux.Text
---@param ... any
---@return 0? done
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:log(level, fmt, ...) end

function Handle:close() end

---Run the reactor: until it is stopped or nothing is left to wait for, until
---something was handled, or for what is there already.
---@param mode? "once"|"nowait"
---@return integer? active 0 if nothing is left to wait for
---@return string? reason
---@return integer? errnum
---@return string? detail
function Handle:reactor(mode) end

function Handle:reactor_stop() end

---@param reason? flux.Text
function Handle:reactor_stop_error(reason) end

---@class flux.MsghandlerOptions
---@field pattern flux.Text A glob on the topic
---@field handler fun(f: flux.Handle, msg: flux.Message, mh: flux.Watcher): integer?
---@field msgtypes? flux.Integer[] All unless given
---@field rolemask? flux.Integer Whose requests are let in: the owner's unless given
---@field [any] any

---@param options flux.MsghandlerOptions
---@return flux.Watcher? mh
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:msghandler(options) end

---@class flux.TimerOptions
---@field timeout flux.Number Milliseconds
---@field handler fun(f: flux.Handle, timer: flux.Watcher): integer?
---@field oneshot? boolean True unless given
---@field [any] any

---@param options flux.TimerOptions
---@return flux.Watcher? timer
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:timer(options) end

---@class flux.Stat
---@field st_dev integer
---@field st_ino integer
---@field st_mode integer
---@field st_nlink integer 0 where there is no such file
---@field st_uid integer
---@field st_gid integer
---@field st_size integer
---@field st_atime integer Seconds
---@field st_mtime integer Seconds
---@field st_ctime integer Seconds
---@field st_blksize integer
---@field st_blocks integer

---@class flux.StatwatcherOptions
---@field path flux.Text
---@field handler fun(w: flux.Watcher, st: flux.Stat, prev: flux.Stat)
---@field interval? flux.Number Seconds
---@field [any] any

---@param options flux.StatwatcherOptions
---@return flux.Watcher? w
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:statwatcher(options) end

---@class flux.FdwatcherOptions
---@field fd flux.Integer
---@field handler fun(w: flux.Watcher, events: integer) 1 reading, 2 writing, 4 error
---@field events? "r"|"w"|"rw"|flux.Integer Reading and writing unless given
---@field [any] any

---@param options flux.FdwatcherOptions
---@return flux.Watcher? w
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:fdwatcher(options) end

---@class flux.Block
---@field data string?
---@field eof boolean

---@class flux.IowatcherFdOptions
---@field fd flux.Integer
---@field handler fun(w: flux.Watcher, line: flux.Block)
---@field [any] any

---@class flux.IowatcherKeyOptions
---@field key flux.Text A stream in the KVS
---@field handler fun(w: flux.Watcher, data: string?, err: string?)
---@field kz_flags? "nofollow"[]
---@field [any] any

---@param options flux.IowatcherFdOptions|flux.IowatcherKeyOptions
---@return flux.Watcher? w
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:iowatcher(options) end

---@class flux.SighandlerOptions
---@field sigmask flux.Integer[] Signal numbers
---@field handler fun(f: flux.Handle, w: flux.Watcher, signum: integer)
---@field [any] any

---@param options flux.SighandlerOptions
---@return flux.Watcher? w
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:sighandler(options) end

---@class flux.KvswatcherOptions
---@field key flux.Text
---@field handler fun(w: flux.Watcher, value: any, errnum: integer?)
---@field isdir? boolean
---@field [any] any

---@param options flux.KvswatcherOptions
---@return flux.Watcher? w
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:kvswatcher(options) end

---Put a value on the pending transaction; nil unlinks.
---@param key flux.Text
---@param value any
---@return true? done
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:kvs_put(key, value) end

---@param key flux.Text
---@return any value
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:kvs_get(key) end

---Commit what has gathered, all of it or none.
---@return true? done
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:kvs_commit() end

---@param key flux.Text
---@return true? done
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:kvs_unlink(key) end

---@param key flux.Text
---@param target flux.Text
---@return true? done
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:kvs_symlink(key, target) end

---@param key flux.Text
---@return "file"|"dir"|"symlink"|nil type
---@return any value The value, the directory or the target; or the error's text
---@return integer? errnum
---@return string? detail
function Handle:kvs_type(key) end

---A directory, the root unless a key is given.
---@param fmt? flux.Text
---@param ... any
---@return flux.Kvsdir? dir
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:kvsdir(fmt, ...) end

---A byte stream kept in the KVS.
---@param key flux.Text
---@param mode? "r"|"w"
---@return flux.Kz? kz
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:kz_open(key, mode) end

---A message that was received.
---@class flux.Message
---@field type "request"|"response"|"event"|"control"
---@field tag string? The topic
---@field data table? The payload, decoded
---@field payload string? The payload's bytes
---@field errnum integer? Of a response: 0, or the errno
---@field matchtag integer? Of a request or response
---@field nodeid integer? Of a request
---@field userid integer
---@field rolemask integer
---@field streaming boolean
local Message = {}

---@param payload? table
---@return 0? done
---@return string? err
---@return integer? errnum
---@return string? detail
function Message:respond(payload) end

---@param errnum flux.Integer
---@param text? flux.Text
---@return 0? done
---@return string? err
---@return integer? errnum
---@return string? detail
function Message:respond_error(errnum, text) end

---What a handle's reactor waits for. Its other fields are those of the table
---that it was made of.
---@class flux.Watcher
---@field id integer A number that no other object of this Lua state has
---@field [any] any
local Watcher = {}

---End it. Its handler is not called again.
---@return true? done Nothing for message handlers and signal handlers
function Watcher:remove() end

---A directory of the KVS, indexed like a table.
---@class flux.Kvsdir
---@field [string|number] any
local Kvsdir = {}

---@return fun(): string? next The names, as they were when it was opened
function Kvsdir:keys() end

---@return true? done
---@return string? err
---@return integer? errnum
---@return string? detail
function Kvsdir:commit() end

---@param name flux.Text
---@return true? done
---@return string? err
---@return integer? errnum
---@return string? detail
function Kvsdir:unlink(name) end

---Wait until the value differs from `last`; without it, until there is one.
---@param name flux.Text
---@param last? any
---@return any value
---@return string? err
---@return integer? errnum
---@return string? detail
function Kvsdir:watch(name, last) end

---Wait until something below the directory changes.
---@return 0? done
---@return string? err
---@return integer? errnum
---@return string? detail
function Kvsdir:watch_dir() end

---What `require "kvs"` returns: the methods of directories as functions.
---@class flux.kvs
local kvs = {}

---@param dir flux.Kvsdir
---@return fun(): string? next The names, as they were when it was opened
function kvs.keys(dir) end

---@param dir flux.Kvsdir
---@return true? done
---@return string? err
---@return integer? errnum
---@return string? detail
function kvs.commit(dir) end

---@param dir flux.Kvsdir
---@param name flux.Text
---@return true? done
---@return string? err
---@return integer? errnum
---@return string? detail
function kvs.unlink(dir, name) end

---Wait until the value differs from `last`; without it, until there is one.
---@param dir flux.Kvsdir
---@param name flux.Text
---@param last? any
---@return any value
---@return string? err
---@return integer? errnum
---@return string? detail
function kvs.watch(dir, name, last) end

---Wait until something below the directory changes.
---@param dir flux.Kvsdir
---@return 0? done
---@return string? err
---@return integer? errnum
---@return string? detail
function kvs.watch_dir(dir) end

---A stream of bytes in the KVS.
---@class flux.Kz
local Kz = {}

---@param text flux.Text
---@return integer? count
---@return string? err
---@return integer? errnum
---@return string? detail
function Kz:write(text) end

---The next block; `nil, "Resource temporarily unavailable"` while there is none.
---@return flux.Block? block
---@return string? err
---@return integer? errnum
---@return string? detail
function Kz:read() end

---@return nil
---@return string? err
---@return integer? errnum
---@return string? detail
function Kz:close() end

return flux
