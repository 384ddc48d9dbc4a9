//! Writes a tree as JSON with holes, after its rules are applied.

use super::object::{Hole, Object};
use super::{Id, NONE, Node, Root, Span, Tree, id};
use crate::json;
use crate::query::form::{self, BEHIND};

impl Tree {
    /// Sets `into` to the object of `root`. Values are strings, unless it is `typed`.
    pub fn write(&mut self, query: &[u8], root: Root, into: &mut Object, typed: bool) {
        self.apply_rules(query);
        let Object { text: out, holes } = into;
        out.clear();
        holes.clear();
        out.push(b'{');
        let mut at = self.node(root as Id).first_child;
        let mut in_array = false;
        while at != NONE {
            let node = self.node(at);
            if !in_array {
                self.write_name(query, out, node);
            }
            if node.first_child != NONE {
                in_array = node.is_array;
                out.push(if in_array { b'[' } else { b'{' });
                at = node.first_child;
                continue;
            }
            self.write_values(out, holes, node, typed);
            if node.next != NONE {
                out.push(b',');
                at = node.next;
                continue;
            }
            at = self.following(out, root as Id, node.parent);
            in_array = at != NONE && self.node(self.node(at).parent).is_array;
        }
        out.push(b'}');
        out.extend_from_slice(&BEHIND);
    }

    /// The node to write after all members of `at`. Closes the objects and arrays that end there.
    fn following(&self, out: &mut Vec<u8>, root: Id, mut at: Id) -> Id {
        while at != root {
            let node = self.node(at);
            out.push(if node.is_array { b']' } else { b'}' });
            if node.next != NONE {
                out.push(b',');
                return node.next;
            }
            at = node.parent;
        }
        NONE
    }

    fn write_name(&self, query: &[u8], out: &mut Vec<u8>, node: &Node) {
        let Span { start, end } = node.name;
        out.push(b'"');
        // Names that are in the query in decoded form need no escapes.
        if end as usize <= query.len() {
            form::copy(out, &query[start as usize..], (end - start) as usize);
        } else {
            json::text(out, node.name.of(&self.texts));
        }
        out.extend_from_slice(b"\":");
    }

    fn write_values(&self, out: &mut Vec<u8>, holes: &mut Vec<Hole>, node: &Node, typed: bool) {
        let several = node.first_value != node.last_value;
        if several {
            out.push(b'[');
        }
        let mut at = node.first_value;
        while at != NONE {
            let value = &self.values[at as usize];
            if !typed {
                out.push(b'"');
            }
            holes.push(Hole { at: id(out.len()), parameter: value.parameter });
            if !typed {
                out.push(b'"');
            }
            at = value.next;
            if at != NONE {
                out.push(b',');
            }
        }
        if several {
            out.push(b']');
        }
    }
}
