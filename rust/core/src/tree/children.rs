//! Members by name: a search from front to back among few, by hash among many.

use std::hash::BuildHasher;

use super::{Id, NONE, Node, Span, Tree, id};

/// Up to so many siblings a search from front to back beats a hash.
pub const FEW: u32 = 12;

impl Tree {
    /// The child of this name, made if there is none.
    pub(super) fn child(&mut self, query: &[u8], parent: Id, name: Span) -> Id {
        let texts = self.texts(query);
        let text = name.of(texts);
        let digest = digest(text);
        if self.node(parent).children <= FEW {
            let mut at = self.node(parent).first_child;
            while at != NONE {
                let node = self.node(at);
                if node.digest == digest && node.name.of(texts) == text {
                    return at;
                }
                at = node.next;
            }
            let child = self.add_child(parent, name, digest);
            if self.node(parent).children > FEW {
                self.enter_all(query, parent);
            }
            return child;
        }
        let hash = self.hasher.hash_one((parent, text));
        let is_it = |&child: &Id| self.node(child).parent == parent && self.node(child).name.of(texts) == text;
        if let Some(&child) = self.index.find(hash, is_it) {
            return child;
        }
        let child = self.add_child(parent, name, digest);
        self.enter(query, hash, child);
        child
    }

    fn add_child(&mut self, parent: Id, name: Span, digest: u32) -> Id {
        let begins_with_a_digit = (digest >> 8 & 0xFF).wrapping_sub(u32::from(b'0')) < 10;
        let child = self.push_node(name, digest, parent);
        let node = self.node_mut(parent);
        node.children += 1;
        let unsettled = node.first_value != NONE || begins_with_a_digit;
        match std::mem::replace(&mut node.last_child, child) {
            NONE => node.first_child = child,
            last => self.node_mut(last).next = child,
        }
        self.unsettled |= unsettled;
        child
    }

    /// Enters all children of a node in the index.
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

/// Length, first and last byte: the names of one object differ at their ends more often than elsewhere.
fn digest(name: &[u8]) -> u32 {
    let end = |byte: Option<&u8>| u32::from(byte.copied().unwrap_or_default());
    id(name.len()) << 16 | end(name.first()) << 8 | end(name.last())
}
