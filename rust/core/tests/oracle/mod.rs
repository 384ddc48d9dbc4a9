//! Section 3 of the contract, implemented as plainly as possible: the oracle for the tests and the fuzz targets of the
//! tree.

use serde_json::{Map, Value};

/// A node in the contract's terms: the values of its path, and its members.
#[derive(Default)]
struct Node {
    values: Vec<(usize, String)>,
    members: Vec<(String, Node)>,
}

impl Node {
    fn member(&mut self, name: &str) -> &mut Node {
        let at = self.members.iter().position(|(other, _)| other == name).unwrap_or_else(|| {
            self.members.push((name.to_owned(), Node::default()));
            self.members.len() - 1
        });
        &mut self.members[at].1
    }

    fn json(mut self, top: bool) -> Value {
        if self.members.is_empty() && !top {
            let mut texts: Vec<_> = self.values.into_iter().map(|(_, text)| Value::String(text)).collect();
            return if texts.len() == 1 { texts.remove(0) } else { Value::Array(texts) };
        }
        if !self.values.is_empty() {
            let values = std::mem::take(&mut self.values);
            let member = self.member("");
            member.values.extend(values);
            member.values.sort();
        }
        let count = self.members.len();
        let mut by_index: Vec<Option<Value>> = (0..count).map(|_| None).collect();
        let mut object = Map::new();
        for (name, member) in self.members {
            let value = member.json(false);
            if let Some(slot) = (0..count).find(|i| i.to_string() == name) {
                by_index[slot] = Some(value.clone());
            }
            object.insert(name, value);
        }
        match by_index.into_iter().collect::<Option<Vec<_>>>() {
            Some(items) if !top => Value::Array(items),
            _ => Value::Object(object),
        }
    }
}

/// The object of the parameters whose names begin with `prefix`.
pub fn nest(query: &[u8], prefix: &str) -> Value {
    let mut root = Node::default();
    for (order, (name, value)) in form_urlencoded::parse(query).enumerate() {
        if let Some(path) = name.trim_start_matches("amp;").strip_prefix(prefix) {
            let node = path.split('.').fold(&mut root, |node, segment| node.member(segment));
            node.values.push((order, value.into_owned()));
        }
    }
    root.json(true)
}
