---@meta flux
-- Types of the modules `flux` and `kvs` for lua-language-server. Nothing here runs. To use
-- them, add this folder to the editor's settings: "workspace.library": ["…/lua/types"].
-- doc/api.md has the full reference.

---A string, or a number, which is converted to its text.
---@alias flux.Text string|number

---A number, or a string that Lua converts to one.
---@alias flux.Number number|string

---An integer, or a string that Lua converts to one.
---@alias flux.Integer integer|string

---@class flux
---@field MSGTYPE_REQUEST integer 1
---@field MSGTYPE_RESPONSE integer 2
---@field MSGTYPE_EVENT integer 4
---@field MSGTYPE_ANY integer 15
---@field NODEID_ANY integer The nearest broker that has the service
---@field NODEID_UPSTREAM integer The nearest such broker, starting at this broker's parent
---@field NULL lightuserdata JSON's null
---@field json flux.json
---@field kvs flux.kvs
---@field errno table<string|integer, integer|string> Maps names of errors to numbers and numbers to names
---@field signal table<string|integer, integer|string> Maps names of signals to numbers and numbers to names
local flux = {}

---Opens a handle. Blocks until it is connected. `uri` defaults to the environment variable
---`FLUX_URI`. `embed://[NAME][?size=N&rank=R]` is a broker in this process, and `loop://` a
---loopback, which receives the messages that it sends.
---@param uri? flux.Text
---@return flux.Handle? handle
---@return string? err
---@return integer? errnum
---@return string? detail
function flux.new(uri) end

---Decodes a wait status.
---@param status flux.Integer
---@return "exited"|"killed"|"stopped"|nil what
---@return integer|string value The exit code or the signal number, or the error text
---@return "core dumped"? dumped
function flux.exitstatus(status) end

---Returns all arguments. If the first is nil or false, raises the second and the fourth as
---`err: detail`.
---@generic T
---@param v? T
---@param ... any err, errno, detail
---@return T v
---@return any ...
function flux.assert(v, ...) end

---Returns the text of an errno.
---@param errnum flux.Integer
---@return string text
function flux.strerror(errnum) end

---Returns the versions in use.
---@return string module The version of this module
---@return string? libflux The version of libflux-core, or nil if it is not found
---@return string lua The Lua version that the module was built for
function flux.version() end

---@class flux.json
---@field NULL lightuserdata JSON's null
local json = {}

---Encodes a value as JSON. Raises an error for a value that JSON cannot represent.
---@param value any
---@return string text
function json.encode(value) end

---@class flux.json.Options
---@field null? any The value for null, which is nil by default

---Decodes a JSON text.
---@param text flux.Text
---@param options? flux.json.Options
---@return any value
---@return string? err
function json.decode(text, options) end

---Marks a table as an array, so that it is encoded as `[]` while it is empty. Makes a new
---table if none is given.
---@generic T: table
---@param t? T
---@return T
function json.array(t) end

---Where a request goes, and how long its response may take.
---@class flux.Options
---@field nodeid? flux.Integer A rank, or one of the constants `NODEID_…`
---@field timeout? flux.Number Seconds

---A connection to a broker.
---@class flux.Handle
---@field rank integer? The broker's rank
---@field size integer? How many brokers the instance has
---@field arity integer? How many children a broker has, or nil if that is not fixed
local Handle = {}

---Calls a service and waits for its response.
---@param topic string
---@param payload? table
---@param to? flux.Integer|flux.Options
---@return table? response
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:rpc(topic, payload, to) end

---Sends a request, and returns its matchtag without waiting for the response.
---@param topic string
---@param payload? table
---@param to? flux.Integer|flux.Options
---@return integer? matchtag
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:send(topic, payload, to) end

---Waits for a response. For an error response, returns a table with `errnum` and, if the
---service sent a text, `errstr`.
---@param matchtag? flux.Integer
---@return table? response
---@return string topic The topic, or the error text
---@return integer? errnum
---@return string? detail
function Handle:recv(matchtag) end

---Waits for a message of any type, or for the response with this matchtag.
---@param matchtag? flux.Integer
---@return flux.Message? message
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:recvmsg(matchtag) end

---Publishes an event.
---@param payload table?
---@param fmt flux.Text The topic
---@param ... any
---@return 0? done
---@return string? err
---@return integer? errnum
---@return string? detail
---@overload fun(self: flux.Handle, fmt: flux.Text, ...: any): 0?, string?, integer?, string?
function Handle:sendevent(payload, fmt, ...) end

---Waits for an event.
---@return table? payload
---@return string topic The topic, or the error text
---@return integer? errnum
---@return string? detail
function Handle:recv_event() end

---Subscribes to the events whose topics start with this text.
---@param fmt flux.Text
---@param ... any
---@return 0? done
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:subscribe(fmt, ...) end

---Undoes one call of `subscribe` with the same text.
---@param fmt flux.Text
---@param ... any
---@return 0? done
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:unsubscribe(fmt, ...) end

---Returns the value of a broker attribute.
---@param name flux.Text
---@return string? value
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:getattr(name) end

---Waits until `nprocs` processes have entered the barrier `name`.
---@param name flux.Text
---@param nprocs flux.Integer
---@return 0? done
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:barrier(name, nprocs) end

---Writes to the broker's log.
---@param level flux.Integer|"emerg"|"alert"|"crit"|"err"|"warning"|"notice"|"info"|"debug"
---@param fmt flux.Text
---@param ... any
---@return 0? done
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:log(level, fmt, ...) end

---Closes the handle and ends its watchers. Closing it again does nothing.
function Handle:close() end

---Runs the reactor. Without a mode, it runs until it is stopped or has nothing left to wait
---for. With "once", it runs until it has handled an event. With "nowait", it handles only the
---events that have already happened.
---@param mode? "once"|"nowait"
---@return integer? active The number of active watchers
---@return string? reason
---@return integer? errnum
---@return string? detail
function Handle:reactor(mode) end

---Stops the reactor.
function Handle:reactor_stop() end

---Stops the reactor with an error. `f:reactor()` then returns nil and the reason.
---@param reason? flux.Text
function Handle:reactor_stop_error(reason) end

---@class flux.MsghandlerOptions
---@field pattern flux.Text A topic, or a glob pattern
---@field handler fun(f: flux.Handle, msg: flux.Message, mh: flux.Watcher): integer?
---@field msgtypes? flux.Integer[] The constants `MSGTYPE_…`; all types by default
---@field rolemask? flux.Integer The roles whose requests are accepted; only the owner by default
---@field [any] any

---Handles messages.
---@param options flux.MsghandlerOptions
---@return flux.Watcher? mh
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:msghandler(options) end

---@class flux.TimerOptions
---@field timeout flux.Number Milliseconds
---@field handler fun(f: flux.Handle, timer: flux.Watcher): integer?
---@field oneshot? boolean Whether to fire only once; true by default
---@field [any] any

---Starts a timer.
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
---@field st_nlink integer 0 if the file does not exist
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
---@field interval? flux.Number Seconds between two checks
---@field [any] any

---Watches the status of a file.
---@param options flux.StatwatcherOptions
---@return flux.Watcher? w
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:statwatcher(options) end

---@class flux.FdwatcherOptions
---@field fd flux.Integer
---@field handler fun(w: flux.Watcher, events: integer) A sum of 1 (readable), 2 (writable) and 4 (error)
---@field events? "r"|"w"|"rw"|flux.Integer "rw" by default
---@field [any] any

---Watches a file descriptor.
---@param options flux.FdwatcherOptions
---@return flux.Watcher? w
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:fdwatcher(options) end

---A line of a file descriptor, or a block of a stream in the KVS.
---@class flux.Block
---@field data string?
---@field eof boolean Whether this is the end

---@class flux.IowatcherFdOptions
---@field fd flux.Integer
---@field handler fun(w: flux.Watcher, line: flux.Block)
---@field [any] any

---@class flux.IowatcherKeyOptions
---@field key flux.Text The key of a stream in the KVS
---@field handler fun(w: flux.Watcher, data: string?, err: string?)
---@field kz_flags? "nofollow"[] "nofollow": do not wait for further blocks
---@field [any] any

---Reads a file descriptor line by line, or a stream in the KVS.
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

---Handles signals.
---@param options flux.SighandlerOptions
---@return flux.Watcher? w
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:sighandler(options) end

---@class flux.KvswatcherOptions
---@field key flux.Text
---@field handler fun(w: flux.Watcher, value: any, errnum: integer?)
---@field isdir? boolean Whether the key is a directory; false by default
---@field [any] any

---Watches a KVS key.
---@param options flux.KvswatcherOptions
---@return flux.Watcher? w
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:kvswatcher(options) end

---Adds a value to the pending transaction. A nil removes the key.
---@param key flux.Text
---@param value any
---@return true? done
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:kvs_put(key, value) end

---Returns the value of a key.
---@param key flux.Text
---@return any value
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:kvs_get(key) end

---Commits the pending transaction, all of it or nothing.
---@return true? done
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:kvs_commit() end

---Adds the removal of a key to the pending transaction.
---@param key flux.Text
---@return true? done
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:kvs_unlink(key) end

---Adds a symbolic link to the pending transaction.
---@param key flux.Text
---@param target flux.Text
---@return true? done
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:kvs_symlink(key, target) end

---Returns the type of a key, and what it holds. Does not follow a symbolic link.
---@param key flux.Text
---@return "file"|"dir"|"symlink"|nil type
---@return any value The value, the directory, the target, or the error text
---@return integer? errnum
---@return string? detail
function Handle:kvs_type(key) end

---Looks up a directory, by default the root.
---@param fmt? flux.Text
---@param ... any
---@return flux.Kvsdir? dir
---@return string? err
---@return integer? errnum
---@return string? detail
function Handle:kvsdir(fmt, ...) end

---Opens a byte stream in the KVS, by default for reading.
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
---@field payload string? The bytes of the payload
---@field errnum integer? The errno of an error response, 0 for another response
---@field matchtag integer? The matchtag of a request or response
---@field nodeid integer? The nodeid of a request
---@field userid integer The sender's user id
---@field rolemask integer The sender's roles
---@field streaming boolean Whether there are several responses
local Message = {}

---Responds to a request.
---@param payload? table
---@return 0? done
---@return string? err
---@return integer? errnum
---@return string? detail
function Message:respond(payload) end

---Responds to a request with an error.
---@param errnum flux.Integer
---@param text? flux.Text
---@return 0? done
---@return string? err
---@return integer? errnum
---@return string? detail
function Message:respond_error(errnum, text) end

---A message handler, timer or other watcher of a handle's reactor. Its other fields are
---those of the table that it was made from.
---@class flux.Watcher
---@field id integer A number that no other watcher has
---@field [any] any
local Watcher = {}

---Ends the watcher. Its handler is not called again.
---@return true? done Nothing for message handlers and signal handlers
function Watcher:remove() end

---A directory of the KVS. Its keys are read and assigned like fields of a table.
---@class flux.Kvsdir
---@field [string|number] any
local Kvsdir = {}

---Iterates over the names that the directory had when it was looked up.
---@return fun(): string? next
function Kvsdir:keys() end

---Commits the pending transaction of the directory's handle.
---@return true? done
---@return string? err
---@return integer? errnum
---@return string? detail
function Kvsdir:commit() end

---Adds the removal of a key to the pending transaction.
---@param name flux.Text
---@return true? done
---@return string? err
---@return integer? errnum
---@return string? detail
function Kvsdir:unlink(name) end

---Waits until the value differs from `last`. Without `last`, waits until there is a value.
---@param name flux.Text
---@param last? any
---@return any value
---@return string? err
---@return integer? errnum
---@return string? detail
function Kvsdir:watch(name, last) end

---Waits until something below the directory changes.
---@return 0? done
---@return string? err
---@return integer? errnum
---@return string? detail
function Kvsdir:watch_dir() end

---Module `kvs`: the methods of directories as functions.
---@class flux.kvs
local kvs = {}

---Iterates over the names that the directory had when it was looked up.
---@param dir flux.Kvsdir
---@return fun(): string? next
function kvs.keys(dir) end

---Commits the pending transaction of the directory's handle.
---@param dir flux.Kvsdir
---@return true? done
---@return string? err
---@return integer? errnum
---@return string? detail
function kvs.commit(dir) end

---Adds the removal of a key to the pending transaction.
---@param dir flux.Kvsdir
---@param name flux.Text
---@return true? done
---@return string? err
---@return integer? errnum
---@return string? detail
function kvs.unlink(dir, name) end

---Waits until the value differs from `last`. Without `last`, waits until there is a value.
---@param dir flux.Kvsdir
---@param name flux.Text
---@param last? any
---@return any value
---@return string? err
---@return integer? errnum
---@return string? detail
function kvs.watch(dir, name, last) end

---Waits until something below the directory changes.
---@param dir flux.Kvsdir
---@return 0? done
---@return string? err
---@return integer? errnum
---@return string? detail
function kvs.watch_dir(dir) end

---A reader or writer of a byte stream in the KVS.
---@class flux.Kz
local Kz = {}

---Writes a block.
---@param text flux.Text
---@return integer? count
---@return string? err
---@return integer? errnum
---@return string? detail
function Kz:write(text) end

---Returns the next block, or `nil, "Resource temporarily unavailable"` while there is none.
---@return flux.Block? block
---@return string? err
---@return integer? errnum
---@return string? detail
function Kz:read() end

---Closes the stream. A writer marks its end.
---@return nil
---@return string? err
---@return integer? errnum
---@return string? detail
function Kz:close() end

return flux
