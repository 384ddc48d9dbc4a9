//! Finds members by name: by linear search among few, and by hash among many.

use std::hash::BuildHasher;

use super::{Id, NONE, Node, ROOTS, Span, Tree, id};

/// Up to so many siblings, a linear search is faster than a hash.
pub const FEW: u32 = 12;

impl Tree {
    /// The child with this name and digest. If there is none, the error is the name's hash, if the index has the
    /// parent's children.
    #[inline]
    pub(super) fn find(&self, query: &[u8], parent: Id, name: Span, digest: u32) -> Result<Id, Option<u64>> {
        match self.node(parent).children {
            0 => Err(None),
            1..=FEW => self.find_among_few(self.texts(query), parent, name, digest),
            _ => self.find_by_hash(self.texts(query), parent, name),
        }
    }

    fn find_among_few(&self, texts: &[u8], parent: Id, name: Span, digest: u32) -> Result<Id, Option<u64>> {
        let mut at = self.node(parent).first_child;
        while at != NONE {
            let node = self.node(at);
            if node.digest == digest && node.name.of(texts) == name.of(texts) {
                return Ok(at);
            }
            at = node.next;
        }
        Err(None)
    }

    fn find_by_hash(&self, texts: &[u8], parent: Id, name: Span) -> Result<Id, Option<u64>> {
        let text = name.of(texts);
        let hash = self.hasher.hash_one((parent, text));
        let is_it = |&child: &Id| self.node(child).parent == parent && self.node(child).name.of(texts) == text;
        self.index.find(hash, is_it).copied().ok_or(Some(hash))
    }

    /// Adds a child that [`find`](Self::find) has not found.
    pub(super) fn add_child(&mut self, query: &[u8], parent: Id, name: Span, digest: u32, hash: Option<u64>) -> Id {
        let child = self.push_node(name, digest, parent);
        let node = self.node_mut(parent);
        node.children += 1;
        let is_many = node.children > FEW;
        let needs_rules = node.first_value != NONE || parent >= ROOTS && begins_with_a_digit(digest);
        match std::mem::replace(&mut node.last_child, child) {
            NONE => node.first_child = child,
            last => self.node_mut(last).next = child,
        }
        self.needs_rules |= needs_rules;
        match hash {
            Some(hash) => self.enter(query, hash, child),
            None if is_many => self.enter_all(query, parent),
            None => {}
        }
        child
    }

    /// Adds a new node of this name and the rest of the path below it, and returns the last node. Nothing is searched
    /// there, and each node has one child, the next.
    pub(super) fn grow(&mut self, query: &[u8], mut node: Id, path: Span, mut name: Span) -> Id {
        self.trail.push((name.end - path.start, node));
        while name.end != path.end {
            let digest;
            (name, digest) = Span { start: name.end + 1, end: path.end }.segment(self.texts(query));
            let child = self.push_node(name, digest, node);
            let parent = self.node_mut(node);
            (parent.first_child, parent.last_child, parent.children) = (child, child, 1);
            self.needs_rules |= begins_with_a_digit(digest);
            self.trail.push((name.end - path.start, child));
            node = child;
        }
        node
    }

    /// Enters all children of a node into the index.
    fn enter_all(&mut self, query: &[u8], parent: Id) {
        let mut at = self.node(parent).first_child;
        while at != NONE {
            let hash = self.hasher.hash_one((parent, self.node(at).name.of(self.texts(query))));
            self.enter(query, hash, at);
            at = self.node(at).next;
        }
    }

    fn enter(&mut self, query: &[u8], hash: u64, child: Id) {
        let Self { nodes, texts, hasher, index, .. } = self;
        let texts = if texts.is_empty() { query } else { texts };
        index.insert_unique(hash, child, |&child| {
            let Node { parent, name, .. } = nodes[child as usize];
            hasher.hash_one((parent, name.of(texts)))
        });
    }
}

/// The length, and the first and last byte, because the names of one object differ most often at their ends.
#[inline]
pub(super) fn digest(name: &[u8]) -> u32 {
    let end = |byte: Option<&u8>| u32::from(byte.copied().unwrap_or_default());
    id(name.len()) << 16 | end(name.first()) << 8 | end(name.last())
}

/// Whether a name with this digest may be a position in an array.
pub(super) fn begins_with_a_digit(digest: u32) -> bool {
    (digest >> 8 & 0xFF).wrapping_sub(u32::from(b'0')) < 10
}
