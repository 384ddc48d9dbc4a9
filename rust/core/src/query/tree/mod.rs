//! Nests dotted names into JSON (contract, section 3), without a tree of owned strings. Nodes are ranges of the query,
//! and writing walks them without recursion, so no depth can exhaust the stack.

mod children;
mod object;
mod rules;
mod span;
mod write;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::query::form::BEHIND;
use span::{Span, shared, span};

pub use object::Object;

/// The tree of members from the dotted paths of one query. Its buffers are used again for the next query.
pub struct Tree {
    nodes: Vec<Node>,
    values: Vec<Value>,
    /// Empty while all names are in the query in decoded form. Otherwise it is a copy of the query followed by decoded
    /// names, so that the ranges of the query stay valid.
    texts: Vec<u8>,
    /// The last path, and the end of each of its names. Templates write the members of one object consecutively, so
    /// most of the way to the next node is known.
    last: Span,
    trail: Vec<(u32, Id)>,
    last_root: Root,
    /// The children of nodes with more than [`children::FEW`], by parent and name. It has a random seed, so that nobody
    /// can choose colliding names.
    index: HashTable<Id>,
    hasher: DefaultHashBuilder,
    /// Whether a node has both values and members, or a member whose name begins with a digit.
    needs_rules: bool,
}

/// The objects of one query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// The parameters that begin with `p.`.
    Properties,
    /// The parameters that begin with `t.`.
    Traits,
}

impl Root {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Properties, Self::Traits];
}

/// A decoded path, and the place of its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a> {
    /// UTF-8.
    pub bytes: &'a [u8],
    /// Whether they are a part of the query.
    pub in_query: bool,
}

type Id = u32;
const NONE: Id = Id::MAX;
const ROOTS: Id = 2;

/// The large buffers of one huge query are not kept.
const KEPT_NODES: usize = 4096;

struct Node {
    name: Span,
    /// A digest of the name, which differs for most different names.
    digest: u32,
    parent: Id,
    next: Id,
    first_child: Id,
    last_child: Id,
    children: u32,
    first_value: Id,
    last_value: Id,
    is_array: bool,
}

/// A value in the list of its node. Ids grow in query order.
struct Value {
    parameter: u32,
    next: Id,
}

impl Default for Tree {
    fn default() -> Self {
        Self {
            nodes: Vec::with_capacity(64),
            values: Vec::with_capacity(64),
            texts: Vec::new(),
            last: Span::default(),
            trail: Vec::with_capacity(32),
            last_root: Root::Properties,
            index: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            needs_rules: false,
        }
    }
}

impl Tree {
    /// Empties the tree.
    pub fn clear(&mut self) {
        if self.nodes.capacity() > KEPT_NODES {
            *self = Self::default();
        }
        self.nodes.clear();
        self.values.clear();
        self.texts.clear();
        self.trail.clear();
        self.index.clear();
        self.needs_rules = false;
        for _ in 0..ROOTS {
            self.push_node(Span::default(), 0, NONE);
        }
    }

    /// Adds a parameter of `query`: its path, which is split on `.`, and its number. Call it in query order.
    pub fn add(&mut self, query: &[u8], root: Root, path: Path<'_>, parameter: u32) {
        let path = self.place(query, path);
        let (mut node, mut rest) = self.known(query, root, path);
        loop {
            let (name, digest) = rest.segment(self.texts(query));
            node = match self.find(query, node, name, digest) {
                Ok(child) => child,
                Err(hash) => {
                    let child = self.add_child(query, node, name, digest, hash);
                    node = self.grow(query, child, path, name);
                    break;
                }
            };
            self.trail.push((name.end - path.start, node));
            if name.end == path.end {
                break;
            }
            rest.start = name.end + 1;
        }
        self.add_value(node, parameter);
    }

    /// The deepest node that this path shares with the last one, and the rest of this path.
    fn known(&mut self, query: &[u8], root: Root, path: Span) -> (Id, Span) {
        if self.last_root != root {
            self.last_root = root;
            self.trail.clear();
        }
        let last = std::mem::replace(&mut self.last, path);
        let texts = if self.texts.is_empty() { query } else { &self.texts };
        let text = path.of(texts);
        let mut known = None;
        while let Some(&(length, node)) = self.trail.last() {
            if text.get(length as usize) == Some(&b'.')
                && length as usize <= *known.get_or_insert_with(|| shared(texts, last, path))
            {
                return (node, Span { start: path.start + length + 1, ..path });
            }
            self.trail.pop();
        }
        (root as Id, path)
    }

    fn place(&mut self, query: &[u8], path: Path<'_>) -> Span {
        if path.in_query {
            return span(query, path.bytes);
        }
        if self.texts.is_empty() {
            self.texts.extend_from_slice(query);
        } else {
            self.texts.truncate(self.texts.len() - BEHIND.len());
        }
        let start = id(self.texts.len());
        self.texts.extend_from_slice(path.bytes);
        let end = id(self.texts.len());
        self.texts.extend_from_slice(&BEHIND);
        Span { start, end }
    }

    /// The text that spans refer to.
    fn texts<'t>(&'t self, query: &'t [u8]) -> &'t [u8] {
        if self.texts.is_empty() { query } else { &self.texts }
    }

    fn add_value(&mut self, node: Id, parameter: u32) {
        let new = id(self.values.len());
        self.values.push(Value { parameter, next: NONE });
        let node = self.node_mut(node);
        match std::mem::replace(&mut node.last_value, new) {
            NONE => {
                node.first_value = new;
                self.needs_rules |= node.first_child != NONE;
            }
            last => self.values[last as usize].next = new,
        }
    }

    fn push_node(&mut self, name: Span, digest: u32, parent: Id) -> Id {
        let new = id(self.nodes.len());
        self.nodes.push(Node {
            name,
            digest,
            parent,
            next: NONE,
            first_child: NONE,
            last_child: NONE,
            children: 0,
            first_value: NONE,
            last_value: NONE,
            is_array: false,
        });
        new
    }

    fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    fn node_mut(&mut self, id: Id) -> &mut Node {
        &mut self.nodes[id as usize]
    }
}

/// No query reaches 4 GiB, and each node or value needs at least one of its bytes.
#[expect(clippy::cast_possible_truncation)]
fn id(index: usize) -> Id {
    index as Id
}
