//! Applies rules 2 and 4 of section 3, which depend on all parameters.

use super::children::{begins_with_a_digit, digest};
use super::{Id, NONE, Node, ROOTS, Span, Tree, id};

impl Tree {
    /// Applies the rules to all nodes. A child's id is greater than its parent's, so one pass also reaches nodes that
    /// an earlier step has added.
    pub(super) fn apply_rules(&mut self, query: &[u8]) {
        if !std::mem::take(&mut self.needs_rules) {
            return;
        }
        let mut at = ROOTS;
        while at < id(self.nodes.len()) {
            let Node { first_child, first_value, .. } = *self.node(at);
            if first_child != NONE {
                if first_value != NONE {
                    self.push_values_down(query, at);
                } else if begins_with_a_digit(self.node(first_child).digest) {
                    self.become_array(query, at);
                }
            }
            at += 1;
        }
    }

    /// Rule 2: the values of a node with members move to its member `""`, which comes first.
    fn push_values_down(&mut self, query: &[u8], at: Id) {
        let (name, digest) = (Span::default(), digest(&[]));
        let member = match self.find(query, at, name, digest) {
            Ok(member) => member,
            Err(hash) => self.add_child(query, at, name, digest, hash),
        };
        self.move_to_front(at, member);
        let node = self.node_mut(at);
        let mine = std::mem::replace(&mut node.first_value, NONE);
        node.last_value = NONE;
        let theirs = self.node(member).first_value;
        let (first, last) = self.merge(mine, theirs);
        let member = self.node_mut(member);
        (member.first_value, member.last_value) = (first, last);
    }

    /// Merges two lists of values in query order, and returns the first and the last value.
    fn merge(&mut self, mut a: Id, mut b: Id) -> (Id, Id) {
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
        (first, last)
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

    /// Rule 4: a node whose member names are exactly 0 to n-1 is an array. Names are unique, so n names below n are all
    /// of them. Nothing is allocated before that is known.
    fn become_array(&mut self, query: &[u8], at: Id) {
        let length = self.node(at).children;
        let mut in_order = true;
        for (i, child) in (0..).zip(self.children(at)) {
            match position(self.node(child).name.of(self.texts(query))) {
                Some(position) if position < length => in_order &= position == i,
                _ => return,
            }
        }
        self.node_mut(at).is_array = true;
        if in_order {
            return;
        }
        let mut ordered = vec![NONE; length as usize];
        for child in self.children(at) {
            if let Some(position) = position(self.node(child).name.of(self.texts(query))) {
                ordered[position as usize] = child;
            }
        }
        for pair in ordered.windows(2) {
            self.node_mut(pair[0]).next = pair[1];
        }
        if let [first, .., last] = ordered[..] {
            self.node_mut(last).next = NONE;
            let node = self.node_mut(at);
            (node.first_child, node.last_child) = (first, last);
        }
    }

    fn children(&self, at: Id) -> impl Iterator<Item = Id> {
        let some = |id| (id != NONE).then_some(id);
        std::iter::successors(some(self.node(at).first_child), move |&child| some(self.node(child).next))
    }
}

/// The array position of a member name: a number in JSON's form.
fn position(name: &[u8]) -> Option<u32> {
    match name {
        [b'0'] => Some(0),
        // Nine digits fit, and are more than any query's members.
        [b'1'..=b'9', ..] if name.len() <= 9 => name
            .iter()
            .try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0'))),
        _ => None,
    }
}
