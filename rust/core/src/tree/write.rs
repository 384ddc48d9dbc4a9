//! A settled tree as JSON.

use super::{Id, NONE, Node, Root, Span, Tree, Value};
use crate::form::{self, Raw};
use crate::{json, text};

impl Tree {
    /// Appends the object of `root`. With `typed` a value that is one becomes a JSON literal, see [`text::is_literal`].
    pub fn write(&mut self, query: &[u8], root: Root, out: &mut Vec<u8>, typed: bool) {
        self.settle(query);
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
            self.write_values(query, out, node, typed);
            if node.next != NONE {
                out.push(b',');
                at = node.next;
                continue;
            }
            at = self.following(out, root as Id, node.parent);
            in_array = at != NONE && self.node(self.node(at).parent).is_array;
        }
        out.push(b'}');
    }

    /// The node to write after all members of `at`, closing what ends with them.
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
        // What is in the query as it is has nothing to escape.
        if end as usize <= query.len() {
            form::copy(out, &query[start as usize..], (end - start) as usize);
        } else {
            let (mut rest, length) = (&self.texts[start as usize..], (end - start) as usize);
            let plain = form::copy_plain(out, rest, length);
            rest = &rest[plain..length];
            if !rest.is_empty() {
                json::text(out, rest);
            }
        }
        out.extend_from_slice(b"\":");
    }

    fn write_values(&self, query: &[u8], out: &mut Vec<u8>, node: &Node, typed: bool) {
        let several = node.first_value != node.last_value;
        if several {
            out.push(b'[');
        }
        let mut at = node.first_value;
        while at != NONE {
            let value = &self.values[at as usize];
            write_value(query, out, value, typed);
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

fn write_value(query: &[u8], out: &mut Vec<u8>, &Value { raw, plain, .. }: &Value, typed: bool) {
    if typed {
        let decoded = Raw { bytes: raw.of(query), plain }.decode();
        if text::is_literal(&decoded) {
            return out.extend_from_slice(&decoded);
        }
    }
    out.push(b'"');
    json::form_text(out, &query[raw.start as usize..], (raw.end - raw.start) as usize, plain);
    out.push(b'"');
}
