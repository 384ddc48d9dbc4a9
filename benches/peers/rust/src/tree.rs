//! From dotted paths to nested members.

use serde_json::{Map, Value};

pub type Members = Map<String, Value>;

/// Puts a value where its dotted path says. Repeated values become an array; where a path has both values and members,
/// its values are those of the member "".
pub fn insert(members: &mut Members, path: &str, value: &str) {
    let (segment, rest) = path.split_once('.').map_or((path, None), |(segment, rest)| (segment, Some(rest)));
    let Some(present) = members.get_mut(segment) else {
        let new = rest.map_or_else(|| value.into(), |rest| below(Members::new(), rest, value));
        members.insert(segment.to_owned(), new);
        return;
    };
    match (present, rest) {
        (Value::Object(inner), None) if !inner.contains_key("") => {
            inner.shift_insert(0, String::new(), value.into());
        }
        (Value::Object(inner), rest) => insert(inner, rest.unwrap_or_default(), value),
        (Value::Array(values), None) => values.push(value.into()),
        (present, None) => *present = vec![present.take(), value.into()].into(),
        (present, Some(rest)) => {
            *present = below(Members::from_iter([(String::new(), present.take())]), rest, value);
        }
    }
}

fn below(mut members: Members, path: &str, value: &str) -> Value {
    insert(&mut members, path, value);
    members.into()
}

/// Turns objects whose names are exactly 0 to n-1 into arrays, everywhere but at the top.
pub fn settle_below(members: &mut Members) {
    for child in members.values_mut() {
        if let Value::Object(inner) = child {
            settle_below(inner);
            if (0..inner.len()).all(|index| inner.contains_key(&index.to_string())) {
                *child = (0..inner.len()).filter_map(|index| inner.remove(&index.to_string())).collect();
            }
        }
    }
}
