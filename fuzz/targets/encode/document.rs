//! The Lua value that an input describes: its tables, how they are filled, and the
//! expected result of encoding.

use std::collections::{BTreeMap, BTreeSet};
use std::os::raw::c_int;
use std::ptr::NonNull;

use flux::json::{self, MAX_DEPTH};
use flux::lua::{Result, State, Writer};
use flux_lua_fuzz::{Decisions, HAS_INTEGERS, assert_float};
use serde_json::Value;

flux::lua_functions! { nothing => do_nothing; }

fn do_nothing(_: State<'_>) -> Result<()> {
    Ok(())
}

/// A Lua value.
#[derive(Clone)]
pub enum Item {
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(Vec<u8>),
    Null,
    /// A value without a JSON form.
    Other(Other),
    /// The table with this index in [`Document::tables`].
    Table(usize),
}

/// Kinds of values without a JSON form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Other {
    Light,
    Function,
    Thread,
    Userdata,
}

/// A key as Lua compares it: an integral float is the same key as the integer.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Integer(i64),
    /// The bits of the float.
    Float(u64),
    Text(Vec<u8>),
    /// A key of a type that has no text in JSON. The number identifies the key.
    NoText(usize),
}

/// The metatable of a table.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    None,
    Array,
    Hostile,
}

struct Table {
    /// The assignments, in their order. A later one may overwrite an earlier one.
    pairs: Vec<(Item, Item)>,
    mark: Mark,
    /// The index in `pairs` of the last assignment to each key.
    fields: BTreeMap<Key, usize>,
}

/// A value with its tables.
pub struct Document {
    tables: Vec<Table>,
    pub root: Item,
}

/// How many nested tables a value may be wrapped in. The last ones are at the depth
/// limit.
const CHAIN_LENGTHS: [usize; 8] = [1, 2, 3, 17, 200, 998, 1000, 1001];
/// Documents with more values are skipped, because they take too long.
const MAX_VALUES: u64 = 20_000;

impl Document {
    /// The document that the decisions describe.
    pub fn of(decisions: &mut Decisions<'_>) -> Document {
        let mut document = Document {
            tables: Vec::new(),
            root: Item::Null,
        };
        let count = decisions.below(9);
        for _ in 0..count {
            let table = document.table(decisions, count);
            document.tables.push(table);
        }
        document.root = Document::item(decisions, count);
        if decisions.below(64) == 1 {
            for n in 0..*decisions.choose(&CHAIN_LENGTHS) {
                let key = match n % 3 {
                    0 => Item::Text(b"k".to_vec()),
                    1 => Item::Integer(1),
                    _ => Item::Integer(2),
                };
                let inner = document.root.clone();
                document
                    .tables
                    .push(Table::new(vec![(key, inner)], Mark::None));
                document.root = Item::Table(document.tables.len() - 1);
            }
        }
        document
    }

    /// A table. Most tables only contain earlier tables; some may contain any of the
    /// `count` tables.
    fn table(&self, decisions: &mut Decisions<'_>, count: usize) -> Table {
        let shape = decisions.byte();
        let available = match shape & 0xc0 {
            0xc0 => count,
            _ => self.tables.len(),
        };
        let len = decisions.below(if shape & 0x20 == 0 { 6 } else { 40 });
        let mut pairs = Vec::with_capacity(len);
        for n in 1..=len {
            let key = match shape & 3 {
                0 => Item::Integer(n as i64),
                1 => Item::Integer((len + 1 - n) as i64),
                2 => Item::Text(text(decisions)),
                _ => Document::item(decisions, available),
            };
            // Lua does not allow NaN as a key.
            if !matches!(key, Item::Float(x) if x.is_nan()) {
                pairs.push((key, Document::item(decisions, available)));
            }
        }
        let mark = match shape >> 2 & 7 {
            0 => Mark::Array,
            1 => Mark::Hostile,
            _ => Mark::None,
        };
        Table::new(pairs, mark)
    }

    /// Any value. A table is one of the first `available`.
    fn item(decisions: &mut Decisions<'_>, available: usize) -> Item {
        match decisions.below(32) {
            0 => Item::Boolean(decisions.below(2) == 1),
            1 => Item::Null,
            2..=5 => Item::Integer(i64::from(decisions.byte()) - 100),
            6 => Item::Integer(decisions.word() as i64),
            7 => Item::Integer(*decisions.choose(&[
                i64::MAX,
                i64::MIN,
                1 << 53,
                (1 << 53) + 1,
                -(1 << 53),
                i64::MAX - 1,
            ])),
            8 => Item::Float(f64::from_bits(decisions.word())),
            9 => Item::Float(f64::from(decisions.byte()) / 16.0 - 4.0),
            10 => Item::Float(*decisions.choose(&[
                0.0,
                -0.0,
                f64::NAN,
                f64::INFINITY,
                f64::NEG_INFINITY,
                5e-324,
                2.225_073_858_507_201e-308,
                f64::MIN_POSITIVE,
                f64::MAX,
                9_007_199_254_740_992.0,
                -9_007_199_254_740_991.0,
                9.223_372_036_854_776e18,
                1e23,
            ])),
            11 => Item::Other(*decisions.choose(&[
                Other::Light,
                Other::Function,
                Other::Thread,
                Other::Userdata,
            ])),
            12..=20 => Item::Text(text(decisions)),
            n if available > 0 => Item::Table((n + decisions.below(256)) % available),
            _ => Item::Boolean(true),
        }
    }

    /// Whether the value can be encoded, or `None` if the document is too large.
    pub fn verdict(&self) -> Option<bool> {
        let mut sizes = vec![Size::Unknown; self.tables.len()];
        let mut values = 1_u64;
        let mut is_infinite = false;
        for table in 0..self.tables.len() {
            match self.measure(table, &mut sizes) {
                Size::Finite { values: more, .. } => values = values.saturating_add(more),
                _ => is_infinite = true,
            }
        }
        // The encoder visits an infinite value down to the depth limit, and each level
        // may contain all finite values.
        let factor = if is_infinite { 100 } else { 1 };
        if values.saturating_mul(factor) > MAX_VALUES {
            return None;
        }
        Some(self.is_encodable(&self.root, &sizes))
    }

    /// The size of a table, computed once.
    fn measure(&self, table: usize, sizes: &mut Vec<Size>) -> Size {
        match sizes[table] {
            Size::Unknown => {}
            // The table contains itself.
            Size::InProgress => return Size::Infinite,
            available => return available,
        }
        sizes[table] = Size::InProgress;
        let (mut all, mut deepest, mut infinite) = (1_u64, 0, false);
        for &pair in self.tables[table].fields.values() {
            let Item::Table(inner) = self.tables[table].pairs[pair].1 else {
                all += 1;
                continue;
            };
            match self.measure(inner, sizes) {
                Size::Finite { values, depth } => {
                    all = all.saturating_add(values);
                    deepest = deepest.max(depth);
                }
                _ => infinite = true,
            }
        }
        sizes[table] = match infinite {
            true => Size::Infinite,
            false => Size::Finite {
                values: all,
                depth: deepest + 1,
            },
        };
        sizes[table]
    }

    fn is_encodable(&self, item: &Item, sizes: &[Size]) -> bool {
        match item {
            Item::Boolean(_) | Item::Integer(_) | Item::Null => true,
            Item::Float(x) => x.is_finite(),
            Item::Text(text) => std::str::from_utf8(text).is_ok(),
            Item::Other(_) => false,
            Item::Table(number) => {
                let table = &self.tables[*number];
                let mut values = table.fields.values().map(|&pair| &table.pairs[pair].1);
                matches!(sizes[*number], Size::Finite { depth, .. } if depth <= MAX_DEPTH)
                    && (table.is_array() || table.names().is_some())
                    && values.all(|value| self.is_encodable(value, sizes))
            }
        }
    }

    /// Assert that `written` is the expected encoding of `item`.
    pub fn assert_written(&self, item: &Item, written: &Value) {
        match (item, written) {
            (Item::Boolean(value), Value::Bool(written)) => assert_eq!(value, written),
            (Item::Null, Value::Null) => {}
            (Item::Integer(n), Value::Number(written)) if HAS_INTEGERS => {
                assert_eq!(Some(*n), written.as_i64());
            }
            (Item::Integer(n), Value::Number(written)) => assert_float(*n as f64, written),
            (Item::Float(x), Value::Number(written)) => assert_float(*x, written),
            (Item::Text(text), Value::String(written)) => assert_eq!(text, written.as_bytes()),
            (Item::Table(table), Value::Array(items)) => {
                let table = &self.tables[*table];
                assert!(table.is_array());
                assert_eq!(table.fields.len(), items.len());
                for (&pair, written) in table.fields.values().zip(items) {
                    self.assert_written(&table.pairs[pair].1, written);
                }
            }
            (Item::Table(table), Value::Object(fields)) => {
                let table = &self.tables[*table];
                assert!(!table.is_array());
                let names = table.names().expect("names");
                assert_eq!(names.len(), fields.len());
                for (name, pair) in names {
                    self.assert_written(&table.pairs[pair].1, &fields[&name]);
                }
            }
            (_, written) => panic!("{written} is the encoding of a different value"),
        }
    }

    /// Push the root value. `hostile` is the stack index of the metatable for hostile
    /// tables.
    pub fn push(&self, state: State<'_>, hostile: c_int) {
        state.push_value(hostile);
        let pushed = state.protect(1, |writer| {
            writer.table(self.tables.len(), 0);
            for n in 1..=self.tables.len() {
                writer.table(0, 0);
                writer.raw_set_index(TABLES, n as c_int);
            }
            for (n, table) in (1..).zip(&self.tables) {
                writer.state().raw_get_index(TABLES, n);
                table.fill(writer);
                writer.state().set_top(TABLES);
            }
            push_item(writer, &self.root);
            1
        });
        pushed.expect("no Lua error");
    }
}

// The stack while tables are filled: the hostile metatable, a table of all tables, and
// the table to fill.
const HOSTILE: c_int = 1;
const TABLES: c_int = 2;
const FILLED: c_int = 3;

/// The size of a table with everything in it.
#[derive(Clone, Copy)]
enum Size {
    Unknown,
    InProgress,
    /// The table contains itself, directly or not.
    Infinite,
    Finite {
        values: u64,
        depth: u32,
    },
}

impl Table {
    fn new(pairs: Vec<(Item, Item)>, mark: Mark) -> Table {
        let mut fields = BTreeMap::new();
        for (n, (key, _)) in pairs.iter().enumerate() {
            fields.insert(Key::of(key), n);
        }
        Table {
            pairs,
            mark,
            fields,
        }
    }

    fn fill(&self, writer: &Writer<'_>) {
        for (key, value) in &self.pairs {
            push_item(writer, key);
            push_item(writer, value);
            writer.raw_set(FILLED);
        }
        match self.mark {
            Mark::None => {}
            Mark::Array => json::mark_array(writer, FILLED),
            Mark::Hostile => {
                writer.state().push_value(HOSTILE);
                writer.set_metatable(FILLED);
            }
        }
    }

    fn is_array(&self) -> bool {
        let mut keys = self.fields.keys().zip(1..);
        match self.fields.is_empty() {
            true => self.mark == Mark::Array,
            false => keys.all(|(key, n)| *key == Key::Integer(n)),
        }
    }

    /// The names of the fields of an object, each with its index in `pairs`. `None` if
    /// a key has no text or two keys have the same text.
    fn names(&self) -> Option<Vec<(String, usize)>> {
        let mut texts = BTreeSet::new();
        let names = self.fields.iter().map(|(key, &pair)| {
            let name = key.text()?;
            texts.insert(name.clone()).then_some((name, pair))
        });
        names.collect()
    }
}

impl Key {
    fn of(item: &Item) -> Key {
        let number = |x: f64| match x as i64 {
            n if n as f64 == x && n != i64::MAX => Key::Integer(n),
            _ => Key::Float(x.to_bits()),
        };
        match item {
            Item::Integer(n) if HAS_INTEGERS => Key::Integer(*n),
            Item::Integer(n) => number(*n as f64),
            Item::Float(x) => number(*x),
            Item::Text(text) => Key::Text(text.clone()),
            Item::Boolean(value) => Key::NoText(usize::from(*value)),
            Item::Null => Key::NoText(2),
            Item::Other(other) => Key::NoText(3 + *other as usize),
            Item::Table(table) => Key::NoText(10 + table),
        }
    }

    fn text(&self) -> Option<String> {
        match self {
            Key::Integer(n) => Some(n.to_string()),
            Key::Float(bits) => {
                let x = f64::from_bits(*bits);
                x.is_finite().then(|| Value::from(x).to_string())
            }
            Key::Text(text) => String::from_utf8(text.clone()).ok(),
            Key::NoText(_) => None,
        }
    }
}

fn text(decisions: &mut Decisions<'_>) -> Vec<u8> {
    const PIECES: [&[u8]; 12] = [
        b"a",
        b"b",
        b"1",
        b"-1",
        b"1.5",
        b"1e300",
        b"\"",
        b"\\",
        b"\0",
        "é日😀".as_bytes(),
        b"\xff",
        b"\x1f",
    ];
    let shape = decisions.byte();
    let len = usize::from(shape >> 2 & 15);
    match shape & 3 {
        0 | 1 => decisions.choose(&PIECES).to_vec(),
        2 => (0..len)
            .flat_map(|_| *decisions.choose(&PIECES))
            .copied()
            .collect(),
        _ => decisions.bytes(len).to_vec(),
    }
}

fn push_item(writer: &Writer<'_>, item: &Item) {
    match item {
        Item::Boolean(value) => writer.boolean(*value),
        Item::Integer(n) => writer.integer(*n),
        Item::Float(x) => writer.number(*x),
        Item::Text(text) => writer.bytes(text),
        Item::Null => writer.light_userdata(std::ptr::null()),
        Item::Other(Other::Light) => {
            writer.light_userdata(NonNull::<u8>::dangling().as_ptr().cast())
        }
        // SAFETY: `lua_functions!` made the function, so Lua may call it.
        Item::Other(Other::Function) => unsafe { writer.function(Some(nothing)) },
        Item::Other(Other::Thread) => {
            writer.thread();
        }
        Item::Other(Other::Userdata) => {
            writer.userdata(8);
        }
        Item::Table(table) => {
            writer.state().raw_get_index(TABLES, *table as i64 + 1);
        }
    }
}
