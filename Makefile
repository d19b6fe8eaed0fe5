# Builds the module for one Lua, and installs it for Lua scripts and for C code:
#
#     make install PREFIX=$HOME/.local LUA=5.3
#
# LUA is 5.1, 5.2, 5.3, 5.4, 5.5 or luajit. README.md ("From C") lists the
# installed files. Packagers can set DESTDIR and each of the folders below.

LUA = 5.4
override LUA := $(patsubst lua%,%,$(LUA))
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
PKGCONFIGDIR ?= $(LIBDIR)/pkgconfig
# The folders where that Lua searches for modules. LuaJIT uses those of Lua 5.1.
LUA_CMOD = $(LIBDIR)/lua/$(LUA:jit=5.1)
LUA_LMOD = $(PREFIX)/share/lua/$(LUA:jit=5.1)

CARGO ?= cargo
CARGOFLAGS ?=
CARGO_TARGET_DIR ?= target
INSTALL ?= install
PKG_CONFIG ?= pkg-config

version := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
name := flux-lua$(LUA)
# The SONAME that build.rs gives the library.
soname := lib$(name).so.0
file := lib$(name).so.$(version)

# For flux-lua.pc: the packages of that Lua and of the other headers that our
# headers include. Packages that pkg-config does not know are left out.
known = $(shell $(PKG_CONFIG) --exists $(1) && echo $(firstword $(1)))
LUA_PC := $(firstword $(foreach package,lua$(LUA) lua-$(LUA) lua$(subst .,,$(LUA)),\
    $(call known,$(package))) $(call known,lua '>=' $(LUA) lua '<' $(LUA).99))
INCLUDED_PC := $(strip $(call known,flux-core) $(call known,jansson))

sources := $(shell find .cargo Cargo.lock Cargo.toml build.rs lua src -type f)
built := $(CARGO_TARGET_DIR)/installed/$(file)
# Set this to a library that is already built to install that one.
LIBRARY = $(built)

ifeq ($(filter $(LUA),5.1 5.2 5.3 5.4 5.5 jit),)
$(error LUA=$(LUA) is none of 5.1, 5.2, 5.3, 5.4, 5.5 and luajit)
endif

all: $(LIBRARY)

# cargo gives the libraries for all Luas the same name, so each is copied.
$(built): $(sources)
	MAKEFLAGS= $(CARGO) build --release --lib --no-default-features --features lua$(subst .,,$(LUA)) \
	    --target-dir $(CARGO_TARGET_DIR) $(CARGOFLAGS)
	$(INSTALL) -D -m 755 $(CARGO_TARGET_DIR)/release/libflux.so $@

# All names are links to one file. So a process has one copy of the module, even
# if C code links it and a script requires it.
install: headers = $(DESTDIR)$(INCLUDEDIR)/flux-lua
install: $(LIBRARY)
	$(INSTALL) -D -m 755 $(LIBRARY) $(DESTDIR)$(LIBDIR)/$(file)
	ln -sf $(file) $(DESTDIR)$(LIBDIR)/$(soname)
	ln -sf $(soname) $(DESTDIR)$(LIBDIR)/lib$(name).so
	$(INSTALL) -d $(DESTDIR)$(LUA_CMOD) $(headers) $(DESTDIR)$(PKGCONFIGDIR)
	ln -srf $(DESTDIR)$(LIBDIR)/$(soname) $(DESTDIR)$(LUA_CMOD)/flux.so
	$(INSTALL) -D -m 644 lua/kvs.lua $(DESTDIR)$(LUA_LMOD)/kvs.lua
	$(INSTALL) -m 644 include/*.h $(headers)
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LUA@|$(LUA)|' -e 's|@VERSION@|$(version)|' \
	    -e 's|@LIBDIR@|$(LIBDIR:$(PREFIX)/%=$${prefix}/%)|' \
	    -e 's|@INCLUDEDIR@|$(INCLUDEDIR:$(PREFIX)/%=$${prefix}/%)|' \
	    -e 's|@LUA_CMOD@|$(LUA_CMOD:$(PREFIX)/%=$${prefix}/%)|' \
	    -e 's|@LUA_PC@|$(LUA_PC)|' -e 's|@INCLUDED_PC@|$(INCLUDED_PC)|' \
	    flux-lua.pc.in > $(DESTDIR)$(PKGCONFIGDIR)/$(name).pc
	ln -sf $(name).pc $(DESTDIR)$(PKGCONFIGDIR)/flux-lua.pc

.PHONY: all install
