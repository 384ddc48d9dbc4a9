//! Dotted names to nested JSON (contract, section 3), without a tree of owned strings: nodes borrow their names and
//! values from the query, and writing walks them without recursion, so no depth can exhaust the stack.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::{form, json, text};

/// The members that dotted paths add up to.
pub struct Tree<'q> {
    nodes: Vec<Node<'q>>,
    values: Vec<Value<'q>>,
    /// Children of the nodes that have more than [`FEW`], by parent and name. Seeded at random, so that nobody can
    /// choose names that collide.
    index: HashTable<Id>,
    hasher: DefaultHashBuilder,
}

type Id = u32;
const NONE: Id = Id::MAX;
const ROOT: Id = 0;

/// Up to so many siblings a search from front to back beats a hash.
const FEW: u32 = 12;

struct Node<'q> {
    name: &'q str,
    parent: Id,
    next: Id,
    first_child: Id,
    last_child: Id,
    children: u32,
    first_value: Id,
    last_value: Id,
    is_array: bool,
}

/// A value in the list of its node. Their ids grow in query order.
struct Value<'q> {
    raw: &'q [u8],
    next: Id,
}

impl Default for Tree<'_> {
    fn default() -> Self {
        let mut tree = Self {
            nodes: Vec::new(),
            values: Vec::new(),
            index: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
        };
        tree.push_node("", NONE);
        tree
    }
}

impl<'q> Tree<'q> {
    /// Whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Adds one parameter: its decoded path, which splits on `.`, and its raw value.
    pub fn add(&mut self, path: &'q str, raw: &'q [u8]) {
        let mut node = ROOT;
        for segment in path.split('.') {
            node = self.child(node, segment).unwrap_or_else(|| self.add_child(node, segment));
        }
        let value = id(self.values.len());
        self.values.push(Value { raw, next: NONE });
        match self.node(node).last_value {
            NONE => self.node_mut(node).first_value = value,
            last => self.values[last as usize].next = value,
        }
        self.node_mut(node).last_value = value;
    }

    /// Appends the object. With `typed` a value that is one becomes a JSON literal, see [`text::is_literal`].
    pub fn write(mut self, out: &mut Vec<u8>, typed: bool) {
        self.settle();
        out.push(b'{');
        let mut at = self.node(ROOT).first_child;
        while at != NONE {
            let node = self.node(at);
            if !self.node(node.parent).is_array {
                json::string(out, node.name);
                out.push(b':');
            }
            if node.first_child != NONE {
                out.push(if node.is_array { b'[' } else { b'{' });
                at = node.first_child;
                continue;
            }
            self.write_values(out, node.first_value, typed);
            at = self.following(out, at);
        }
        out.push(b'}');
    }

    /// The node to write after `at`, closing what ends with it.
    fn following(&self, out: &mut Vec<u8>, mut at: Id) -> Id {
        loop {
            let node = self.node(at);
            if node.next != NONE {
                out.push(b',');
                return node.next;
            }
            at = node.parent;
            if at == ROOT {
                return NONE;
            }
            out.push(if self.node(at).is_array { b']' } else { b'}' });
        }
    }

    fn write_values(&self, out: &mut Vec<u8>, first: Id, typed: bool) {
        let several = self.values[first as usize].next != NONE;
        if several {
            out.push(b'[');
        }
        let mut at = first;
        loop {
            let value = &self.values[at as usize];
            match typed.then(|| form::decode(value.raw)) {
                Some(decoded) if text::is_literal(&decoded) => out.extend_from_slice(decoded.as_bytes()),
                _ => json::form_string(out, value.raw),
            }
            at = value.next;
            if at == NONE {
                break;
            }
            out.push(b',');
        }
        if several {
            out.push(b']');
        }
    }

    /// Applies rules 2 and 4, which need to have seen every parameter. A child's id is above its parent's, so one
    /// pass reaches what an earlier step pushed down.
    fn settle(&mut self) {
        let mut at = ROOT + 1;
        while at < id(self.nodes.len()) {
            if self.node(at).first_child != NONE {
                if self.node(at).first_value != NONE {
                    self.push_values_down(at);
                }
                self.become_array(at);
            }
            at += 1;
        }
    }

    /// Rule 2: the values of a node with members are those of its member `""`, which comes first.
    fn push_values_down(&mut self, at: Id) {
        let member = self.child(at, "").unwrap_or_else(|| self.add_child(at, ""));
        self.move_to_front(at, member);
        let mine = std::mem::replace(&mut self.node_mut(at).first_value, NONE);
        let theirs = self.node(member).first_value;
        self.node_mut(member).first_value = self.merge(mine, theirs);
    }

    /// Merges two lists of values into query order.
    fn merge(&mut self, mut a: Id, mut b: Id) -> Id {
        let first = a.min(b);
        let mut last = NONE;
        while a != NONE || b != NONE {
            let head = if a < b { &mut a } else { &mut b };
            let value = *head;
            *head = self.values[value as usize].next;
            if last != NONE {
                self.values[last as usize].next = value;
            }
            last = value;
        }
        first
    }

    fn move_to_front(&mut self, parent: Id, member: Id) {
        let first = self.node(parent).first_child;
        if first == member {
            return;
        }
        let mut before = first;
        while self.node(before).next != member {
            before = self.node(before).next;
        }
        self.node_mut(before).next = self.node(member).next;
        if self.node(parent).last_child == member {
            self.node_mut(parent).last_child = before;
        }
        self.node_mut(member).next = first;
        self.node_mut(parent).first_child = member;
    }

    /// Rule 4: a node whose member names are exactly 0 to n-1 is an array. Names are unique, so n of them that are
    /// below n are all of them; nothing is allocated before that is known.
    fn become_array(&mut self, at: Id) {
        let length = self.node(at).children;
        if !self.children(at).all(|child| position(self.node(child).name).is_some_and(|p| p < length)) {
            return;
        }
        let mut ordered = vec![NONE; length as usize];
        for child in self.children(at) {
            if let Some(position) = position(self.node(child).name) {
                ordered[position as usize] = child;
            }
        }
        for pair in ordered.windows(2) {
            self.node_mut(pair[0]).next = pair[1];
        }
        if let [first, .., last] | [first @ last] = ordered[..] {
            self.node_mut(last).next = NONE;
            let node = self.node_mut(at);
            (node.first_child, node.last_child, node.is_array) = (first, last, true);
        }
    }

    fn children(&self, at: Id) -> impl Iterator<Item = Id> {
        let some = |id| (id != NONE).then_some(id);
        std::iter::successors(some(self.node(at).first_child), move |&child| some(self.node(child).next))
    }

    fn child(&self, parent: Id, name: &str) -> Option<Id> {
        let node = self.node(parent);
        // Templates write the members of one object after each other.
        if node.last_child != NONE && self.node(node.last_child).name == name {
            return Some(node.last_child);
        }
        if node.children <= FEW {
            return self.children(parent).find(|&child| self.node(child).name == name);
        }
        let is_it = |&child: &Id| self.node(child).parent == parent && self.node(child).name == name;
        self.index.find(self.hasher.hash_one((parent, name)), is_it).copied()
    }

    fn add_child(&mut self, parent: Id, name: &'q str) -> Id {
        let child = self.push_node(name, parent);
        match self.node(parent).last_child {
            NONE => self.node_mut(parent).first_child = child,
            last => self.node_mut(last).next = child,
        }
        let node = self.node_mut(parent);
        node.last_child = child;
        node.children += 1;
        if node.children == FEW + 1 {
            let few: Vec<Id> = self.children(parent).collect();
            for child in few {
                self.enter(child);
            }
        } else if node.children > FEW {
            self.enter(child);
        }
        child
    }

    /// Enters a node in the index.
    fn enter(&mut self, child: Id) {
        let hash = |nodes: &[Node], hasher: &DefaultHashBuilder, child: Id| {
            let node = &nodes[child as usize];
            hasher.hash_one((node.parent, node.name))
        };
        let (nodes, hasher) = (&self.nodes, &self.hasher);
        self.index.insert_unique(hash(nodes, hasher, child), child, |&other| hash(nodes, hasher, other));
    }

    fn push_node(&mut self, name: &'q str, parent: Id) -> Id {
        let new = id(self.nodes.len());
        self.nodes.push(Node {
            name,
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

    fn node(&self, id: Id) -> &Node<'q> {
        &self.nodes[id as usize]
    }

    fn node_mut(&mut self, id: Id) -> &mut Node<'q> {
        &mut self.nodes[id as usize]
    }
}

/// No query reaches 4 GiB, and each node or value takes at least one of its bytes.
#[expect(clippy::cast_possible_truncation)]
fn id(index: usize) -> Id {
    index as Id
}

/// The array position that a member name stands for: a number as JSON prints it.
fn position(name: &str) -> Option<u32> {
    let canonical = name == "0" || (!name.starts_with('0') && name.bytes().all(|b| b.is_ascii_digit()));
    canonical.then(|| name.parse().ok()).flatten()
}

/// The members of the parameters whose decoded name begins with `prefix`, as one JSON object (contract, section 3).
#[must_use]
pub fn nest(query: &[u8], prefix: &str, typed: bool) -> Vec<u8> {
    let parameters: Vec<_> = form::pairs(query).map(|(name, value)| (form::decode(name), value)).collect();
    let mut tree = Tree::default();
    for (name, value) in &parameters {
        if let Some(path) = unescape_amp(name).strip_prefix(prefix) {
            tree.add(path, value);
        }
    }
    let mut out = Vec::with_capacity(query.len());
    tree.write(&mut out, typed);
    out
}

/// A name without the `amp;` that a template leaves there when it escapes `&` twice.
#[must_use]
pub fn unescape_amp(name: &str) -> &str {
    name.strip_prefix("amp;").unwrap_or(name)
}
