//! Random but repeatable histories: the same seed makes the same Write requests, and the server accepts each of them.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test binary uses another part of it"
)]

use std::collections::{HashMap, HashSet, VecDeque};

use serde_json::{Map, Value, json};

/// The most operations that the server takes in one request.
const MAX_OPERATIONS: usize = 100;
/// Above this many tuples deletes prevail, so that the set stays about as large however long the history gets.
const CROWDED: usize = 1500;
const HOT_TUPLES: usize = 12;

/// Makes Write requests for a store, and knows which tuples the store then holds.
pub struct Workload {
    random: Random,
    object_prefix: String,
    hot: Vec<Key>,
    live: Vec<Tuple>,
    position: HashMap<Key, usize>,
    /// Deleted in order to be written with another condition, which takes a later request.
    changing: VecDeque<Tuple>,
    changes: usize,
}

impl Workload {
    /// A history of its own store.
    pub fn new(seed: u64) -> Self {
        Self::with_prefix(seed, String::new())
    }

    /// One of several histories that can be written into one store at a time: workers share users, but never a tuple.
    pub fn disjoint(seed: u64, worker: u32) -> Self {
        let seed = Random(seed ^ (u64::from(worker) << 32)).next();
        Self::with_prefix(seed, format!("w{worker}-"))
    }

    fn with_prefix(seed: u64, object_prefix: String) -> Self {
        let mut workload = Self {
            random: Random(seed),
            object_prefix,
            hot: Vec::new(),
            live: Vec::new(),
            position: HashMap::new(),
            changing: VecDeque::new(),
            changes: 0,
        };
        while workload.hot.len() < HOT_TUPLES {
            let key = workload.random_key();
            if !workload.hot.contains(&key) {
                workload.hot.push(key);
            }
        }
        workload
    }

    /// The authorization model that the requests need.
    pub fn model() -> Value {
        let mut relations: Map<String, Value> = Map::new();
        let mut allowed: HashMap<(&str, &str), Vec<Value>> = HashMap::new();
        for kind in KINDS {
            let definitions = relations
                .entry(kind.object_type)
                .or_insert_with(|| json!({}));
            definitions[kind.relation] = json!({ "this": {} });
            for condition in kind.conditions {
                let mut reference = match kind.user {
                    User::One(user_type) => json!({ "type": user_type }),
                    User::Everyone(user_type) => json!({ "type": user_type, "wildcard": {} }),
                    User::Set(user_type, relation) => {
                        json!({ "type": user_type, "relation": relation })
                    }
                };
                if let Some(name) = condition.name() {
                    reference["condition"] = json!(name);
                }
                allowed
                    .entry((kind.object_type, kind.relation))
                    .or_default()
                    .push(reference);
            }
        }
        let mut types: Vec<Value> = SUBJECT_TYPES
            .iter()
            .map(|name| json!({ "type": name }))
            .collect();
        for (object_type, definitions) in relations {
            let mut metadata = json!({});
            for ((_, relation), references) in
                allowed.iter().filter(|((of, _), _)| *of == object_type)
            {
                metadata[*relation] = json!({ "directly_related_user_types": references });
            }
            types.push(json!({ "type": object_type, "relations": definitions, "metadata": { "relations": metadata } }));
        }
        json!({ "schema_version": "1.1", "type_definitions": types, "conditions": conditions() })
    }

    /// The next request: what to write and what to delete, each tuple at most once, at most 100 in all, at least one.
    pub fn next_request(&mut self) -> (Vec<Value>, Vec<Value>) {
        let size = match self.random.below(10) {
            0..3 => 1,
            3..7 => 2 + self.random.below(9),
            7..9 => 11 + self.random.below(MAX_OPERATIONS - 11),
            _ => MAX_OPERATIONS,
        };
        let mut request = Request::default();
        while request.len() < size {
            if let Some(tuple) = self.take_changing(&request) {
                self.write(tuple, &mut request);
            } else if self.random.one_in(4) {
                self.toggle_hot(&mut request);
            } else if self.wants_delete() {
                self.delete_any(&mut request);
            } else {
                let key = self.random_key();
                self.write_new(key, &mut request);
            }
        }
        self.changes += size;
        (request.writes, request.deletes)
    }

    /// How many changes all requests so far held.
    pub fn changes(&self) -> usize {
        self.changes
    }

    /// The tuples that exist after all requests so far, as the server's `key` objects (`condition` is null if there is none), sorted
    /// by object, relation and user.
    pub fn tuples(&self) -> Vec<Value> {
        let mut tuples: Vec<&Tuple> = self.live.iter().collect();
        tuples.sort_by(|a, b| a.key.cmp(&b.key));
        tuples.into_iter().map(Tuple::as_read).collect()
    }

    fn wants_delete(&mut self) -> bool {
        let of_ten = if self.live.len() > CROWDED { 6 } else { 3 };
        !self.live.is_empty() && self.random.below(10) < of_ten
    }

    /// A tuple that waits for its new condition, unless this very request deleted it.
    fn take_changing(&mut self, request: &Request) -> Option<Tuple> {
        let tuple = self.changing.front()?;
        if request.touched.contains(&tuple.key) {
            return None;
        }
        let tuple = self.changing.pop_front()?;
        // It may be back already, as a hot one.
        (!self.position.contains_key(&tuple.key)).then_some(tuple)
    }

    fn toggle_hot(&mut self, request: &mut Request) {
        let key = self.hot[self.random.below(HOT_TUPLES)].clone();
        if request.touched.contains(&key) {
            return;
        }
        match self.position.get(&key) {
            Some(&at) => self.delete(at, request),
            None => self.write_new(key, request),
        }
    }

    fn delete_any(&mut self, request: &mut Request) {
        let at = self.random.below(self.live.len());
        if request.touched.contains(&self.live[at].key) {
            return;
        }
        if self.live[at].key.kind().conditions.len() > 1 && self.random.one_in(2) {
            let mut changed = self.live[at].clone();
            changed.condition = self.random_condition(&changed.key);
            self.changing.push_back(changed);
        }
        self.delete(at, request);
    }

    fn write_new(&mut self, key: Key, request: &mut Request) {
        if !self.position.contains_key(&key) && !request.touched.contains(&key) {
            let condition = self.random_condition(&key);
            self.write(Tuple { key, condition }, request);
        }
    }

    fn write(&mut self, tuple: Tuple, request: &mut Request) {
        request.writes.push(tuple.as_written());
        request.touched.insert(tuple.key.clone());
        self.position.insert(tuple.key.clone(), self.live.len());
        self.live.push(tuple);
    }

    fn delete(&mut self, at: usize, request: &mut Request) {
        let tuple = self.live.swap_remove(at);
        self.position.remove(&tuple.key);
        if let Some(moved) = self.live.get(at) {
            self.position.insert(moved.key.clone(), at);
        }
        request.deletes.push(tuple.key.as_value());
        request.touched.insert(tuple.key);
    }

    fn random_key(&mut self) -> Key {
        let kind = self.random.below(KINDS.len());
        let Kind {
            object_type,
            relation,
            ref user,
            ..
        } = KINDS[kind];
        loop {
            let object = self.random_object(object_type);
            let user = match *user {
                User::One(user_type) => self.random_user(user_type, ""),
                User::Everyone(user_type) => format!("{user_type}:*"),
                User::Set(user_type, set) => self.random_user(user_type, set),
            };
            // The server refuses what is implicit: group:a#member is a member of group:a.
            if user != format!("{object}#{relation}") {
                return Key {
                    object,
                    relation,
                    user,
                    kind,
                };
            }
        }
    }

    fn random_object(&mut self, object_type: &str) -> String {
        let head = format!("{object_type}:{}", self.object_prefix);
        let room = 256 - head.chars().count();
        if self.random.one_in(60) {
            head + &self.random.long_id(room, |_| 1)
        } else {
            head + &self.random.id()
        }
    }

    fn random_user(&mut self, user_type: &str, set: &str) -> String {
        let head = format!("{user_type}:");
        let tail = if set.is_empty() {
            String::new()
        } else {
            format!("#{set}")
        };
        let room = 512 - head.len() - tail.len();
        let mut id = if self.random.one_in(60) {
            self.random.long_id(room, char::len_utf8)
        } else {
            self.random.id()
        };
        if !set.is_empty() {
            // A userset may not hold a star, a plain user may.
            id = id.replace('*', "+");
        }
        head + &id + &tail
    }

    fn random_condition(&mut self, key: &Key) -> Option<(&'static str, Option<Value>)> {
        let conditions = key.kind().conditions;
        let condition = conditions[self.random.below(conditions.len())];
        let name = condition.name()?;
        // Left out and empty are one to the server.
        let context = match self.random.below(8) {
            0 => None,
            1 => Some(json!({})),
            _ => Some(self.random.context(condition)),
        };
        Some((name, context))
    }
}

#[derive(Default)]
struct Request {
    writes: Vec<Value>,
    deletes: Vec<Value>,
    touched: HashSet<Key>,
}

impl Request {
    fn len(&self) -> usize {
        self.writes.len() + self.deletes.len()
    }
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key {
    object: String,
    relation: &'static str,
    user: String,
    kind: usize,
}

impl Key {
    fn kind(&self) -> &'static Kind {
        &KINDS[self.kind]
    }

    fn as_value(&self) -> Value {
        json!({ "user": self.user, "relation": self.relation, "object": self.object })
    }
}

#[derive(Clone)]
struct Tuple {
    key: Key,
    condition: Option<(&'static str, Option<Value>)>,
}

impl Tuple {
    fn as_written(&self) -> Value {
        let mut tuple = self.key.as_value();
        if let Some((name, context)) = &self.condition {
            tuple["condition"] = json!({ "name": name });
            if let Some(context) = context {
                tuple["condition"]["context"] = context.clone();
            }
        }
        tuple
    }

    fn as_read(&self) -> Value {
        let mut tuple = self.key.as_value();
        tuple["condition"] = match &self.condition {
            Some((name, context)) => {
                json!({ "name": name, "context": context.clone().unwrap_or_else(|| json!({})) })
            }
            None => Value::Null,
        };
        tuple
    }
}

/// What may stand in a relation: who, and under which conditions.
struct Kind {
    object_type: &'static str,
    relation: &'static str,
    user: User,
    conditions: &'static [Condition],
}

enum User {
    One(&'static str),
    Everyone(&'static str),
    Set(&'static str, &'static str),
}

#[derive(Clone, Copy)]
enum Condition {
    None,
    GrantedUntil,
    FromNetwork,
    Policy,
}

impl Condition {
    fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::GrantedUntil => Some("granted_until"),
            Self::FromNetwork => Some("from_network"),
            Self::Policy => Some("policy"),
        }
    }
}

const SUBJECT_TYPES: &[&str] = &["user", "device"];

const fn kind(
    object_type: &'static str,
    relation: &'static str,
    user: User,
    conditions: &'static [Condition],
) -> Kind {
    Kind {
        object_type,
        relation,
        user,
        conditions,
    }
}

const KINDS: &[Kind] = &[
    kind("group", "member", User::One("user"), &[Condition::None]),
    kind(
        "group",
        "member",
        User::Set("group", "member"),
        &[Condition::None],
    ),
    kind("folder", "parent", User::One("folder"), &[Condition::None]),
    kind(
        "folder",
        "viewer",
        User::One("user"),
        &[Condition::None, Condition::GrantedUntil],
    ),
    kind(
        "folder",
        "viewer",
        User::Everyone("user"),
        &[Condition::None, Condition::GrantedUntil],
    ),
    kind(
        "folder",
        "viewer",
        User::Set("group", "member"),
        &[Condition::None],
    ),
    kind(
        "document",
        "parent",
        User::One("folder"),
        &[Condition::None],
    ),
    kind("document", "owner", User::One("user"), &[Condition::None]),
    kind(
        "document",
        "editor",
        User::One("user"),
        &[Condition::Policy],
    ),
    kind(
        "document",
        "editor",
        User::Set("group", "member"),
        &[Condition::None, Condition::Policy],
    ),
    kind(
        "document",
        "viewer",
        User::One("user"),
        &[Condition::None, Condition::Policy, Condition::GrantedUntil],
    ),
    kind(
        "document",
        "viewer",
        User::One("device"),
        &[Condition::FromNetwork],
    ),
    kind(
        "document",
        "viewer",
        User::Everyone("user"),
        &[Condition::None, Condition::Policy],
    ),
    kind(
        "document",
        "viewer",
        User::Everyone("device"),
        &[Condition::None],
    ),
    kind(
        "document",
        "viewer",
        User::Set("group", "member"),
        &[Condition::None],
    ),
    kind(
        "document",
        "viewer",
        User::Set("document", "viewer"),
        &[Condition::None],
    ),
    // Differ from the above in case only.
    kind("Document", "viewer", User::One("user"), &[Condition::None]),
    kind("document", "Viewer", User::One("user"), &[Condition::None]),
];

fn conditions() -> Value {
    let kind = |name: &str| json!({ "type_name": format!("TYPE_NAME_{name}") });
    let of = |name: &str, inner: &str| json!({ "type_name": format!("TYPE_NAME_{name}"), "generic_types": [kind(inner)] });
    json!({
        "granted_until": {
            "name": "granted_until",
            "expression": "now < granted_at + lasts",
            "parameters": { "now": kind("TIMESTAMP"), "granted_at": kind("TIMESTAMP"), "lasts": kind("DURATION") },
        },
        "from_network": {
            "name": "from_network",
            "expression": "client_ip.in_cidr(network)",
            "parameters": { "client_ip": kind("IPADDRESS"), "network": kind("STRING") },
        },
        "policy": {
            "name": "policy",
            "expression": "rules.size() > 0 || tags.exists(t, t == \"all\") || level > 1 || score > 1.0 || active || note != null",
            "parameters": {
                "rules": of("MAP", "ANY"),
                "tags": of("LIST", "STRING"),
                "level": kind("INT"),
                "score": kind("DOUBLE"),
                "active": kind("BOOL"),
                "note": kind("ANY"),
            },
        },
    })
}

/// Identifiers that a careless store or comparison takes for one another, or trips over.
const ODD_IDS: &[&str] = &[
    "Alice",
    "alice",
    "ALICE",
    "alicé",
    "alice\u{301}",
    "aliçe",
    "ａlice",
    "\u{430}lice",
    "alice\u{a0}",
    "alice\u{3000}",
    "alice\u{200b}",
    "ß",
    "ss",
    "ẞ",
    "SS",
    "İ",
    "i\u{307}",
    "ı",
    "i",
    "\u{212b}",
    "\u{c5}",
    "A\u{30a}",
    "\u{2126}",
    "Ω",
    "ﬁ",
    "fi",
    "か",
    "カ",
    "\u{304c}",
    "\u{304b}\u{3099}",
    "\u{d55c}",
    "\u{1112}\u{1161}\u{11ab}",
    "😀",
    "😁",
    "👩\u{200d}👩\u{200d}👧",
    "🇩🇪",
    "\u{10ffff}",
    "\u{ffff}",
    "\u{feff}bom",
    "\u{202e}abc",
    "\u{2028}",
    "a|b",
    "a/b",
    "a*b",
    "**",
    "a+b",
    "a.b",
    "a%b",
    "a%20b",
    "a_b",
    "a-b",
    "a@b.example",
    "a\\b",
    "a\\\\b",
    "a'b",
    "a''b",
    "a\"b",
    "a`b",
    "a;--",
    "$1",
    "?",
    "{}",
    "{a,b}",
    "[1]",
    "<b>&amp;",
    "a,b",
    "a=b",
    "~",
    "null",
    "NULL",
    "\\N",
    "0",
    "00",
    "-0",
    "1e3",
    ".",
    "..",
];

const LONG_ID_UNITS: &[char] = &['x', 'é', '文', '😀'];

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap_or(0)
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    fn id(&mut self) -> String {
        if self.one_in(4) {
            self.pick(ODD_IDS).to_owned()
        } else {
            format!("n{}", self.below(200))
        }
    }

    /// An id that fills its room; it differs from others in its last characters only.
    fn long_id(&mut self, room: usize, width: fn(char) -> usize) -> String {
        let unit = LONG_ID_UNITS[self.below(LONG_ID_UNITS.len())];
        let filler = room - 1;
        let mut id: String = std::iter::repeat_n(unit, filler / width(unit)).collect();
        id.extend(std::iter::repeat_n('x', filler % width(unit)));
        id.push_str(self.pick(&["1", "2", "a", "A"]));
        id
    }

    fn context(&mut self, condition: Condition) -> Value {
        match condition {
            Condition::None => json!({}),
            Condition::GrantedUntil => json!({
                "granted_at": self.pick(&[
                    "2026-01-15T09:00:00Z",
                    "2026-01-31T23:59:59.999999999Z",
                    "2026-02-01T00:00:00+02:00",
                    "0001-01-01T00:00:00Z",
                ]),
                "lasts": self.pick(&["720h", "1h30m", "1.5s", "0s", "-5m"]),
            }),
            Condition::FromNetwork => json!({
                "network": format!("10.{}.0.0/16", self.below(256)),
                "client_ip": self.pick(&["192.0.2.1", "2001:db8::1"]),
            }),
            Condition::Policy => self.policy(),
        }
    }

    fn policy(&mut self) -> Value {
        let mut context = Map::new();
        if self.one_in(2) {
            let tags: Vec<&str> = (0..self.below(4)).map(|_| self.pick(ODD_IDS)).collect();
            context.insert("tags".to_owned(), json!(tags));
        }
        if self.one_in(2) {
            let mut rules = Map::new();
            for _ in 0..self.below(4) {
                let value = self.any(3);
                rules.insert(
                    self.pick(&["", "a", "A", "a.b", "$ref", "é", "key \"quoted\""])
                        .to_owned(),
                    value,
                );
            }
            context.insert("rules".to_owned(), Value::Object(rules));
        }
        if self.one_in(2) {
            context.insert("level".to_owned(), json!(self.below(7)));
        }
        if self.one_in(2) {
            context.insert("score".to_owned(), self.number());
        }
        if self.one_in(2) {
            context.insert("active".to_owned(), json!(self.one_in(2)));
        }
        if self.one_in(2) {
            context.insert("note".to_owned(), self.any(2));
        }
        Value::Object(context)
    }

    /// Numbers that come back equal: the server keeps doubles, and writes whole ones without a point.
    fn number(&mut self) -> Value {
        match self.below(9) {
            0 => json!(0),
            1 => json!(-1),
            2 => json!(9_007_199_254_740_991_u64),
            3 => json!(0.1),
            4 => json!(-2.5),
            5 => json!(1e300),
            6 => json!(1e-7),
            7 => json!(-0.0),
            _ => json!(self.below(1_000_000)),
        }
    }

    fn any(&mut self, depth: usize) -> Value {
        match self.below(if depth == 0 { 4 } else { 6 }) {
            0 => Value::Null,
            1 => json!(self.one_in(2)),
            2 => self.number(),
            3 => json!(self.pick(ODD_IDS)),
            4 => (0..self.below(4)).map(|_| self.any(depth - 1)).collect(),
            _ => json!({ "a": self.any(depth - 1), "Ä": self.any(depth - 1) }),
        }
    }
}
