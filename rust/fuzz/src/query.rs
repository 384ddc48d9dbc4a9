//! A query, compared with the crate `form_urlencoded` and the oracle of nesting.

use pixelcore::consent::Mode;
use pixelcore::event::{self, Judged};
use pixelcore::options::{Limits, Options};
use pixelcore::query::form;
use pixelcore::reason::Reason;
use pixelcore::request::Request;
use pixelcore::time::UnixMillis;
use serde_json::Value;

use crate::{object, oracle};

/// A query's pairs are those of the URL standard, and its nested objects are those of the contract.
pub fn query(data: &[u8]) {
    let text = |raw: form::Raw<'_>| String::from_utf8(raw.decode().into_owned()).expect("decoding makes UTF-8");
    let pairs: Vec<_> = form::pairs(data).map(|(name, value)| (text(name), text(value))).collect();
    let expected: Vec<_> = form_urlencoded::parse(data).map(|(n, v)| (n.into_owned(), v.into_owned())).collect();
    assert_eq!(pairs, expected);

    // Names are cached after they were seen twice.
    for (kind, times) in [("track", 1), ("page", 3)] {
        let last = |typed| (1..times).fold(written(kind, data, typed), |_, _| written(kind, data, typed));
        let (plain, typed) = (last(false), last(true));
        let rejected = pairs.len() > LIMITS.parameters;
        match (plain, typed) {
            (Ok(Value::Null), Ok(Value::Null)) => {} // it wishes for less than an event
            (Ok(mut plain), Ok(mut typed)) => {
                assert!(!rejected);
                for (member, prefix) in [("properties", "p."), ("traits", "t.")] {
                    let expected = oracle::nest(data, prefix);
                    let found = plain.get(member).cloned().unwrap_or_else(|| Value::Object(serde_json::Map::new()));
                    assert_eq!(found, expected, "{member}");
                    if let Some(typed) = typed.get_mut(member) {
                        untype(typed);
                        assert_eq!(*typed, expected, "typed values print as they were sent");
                    }
                }
                // Without a `mid`, each event has its own id.
                for event in [&mut plain, &mut typed] {
                    for member in ["messageId", "properties", "traits"] {
                        event.as_object_mut().map(|event| event.remove(member));
                    }
                }
                assert_eq!(plain, typed);
            }
            (Err(reason), Err(other)) => {
                assert_eq!(reason, other);
                assert!(rejected || reason != Reason::TooManyParameters);
            }
            (plain, typed) => panic!("{plain:?} {typed:?}"),
        }
    }
}

const LIMITS: Limits = Limits { query_bytes: 8192, parameters: 256, depth: 32 };

fn written(kind: &str, query: &[u8], typed_values: bool) -> Result<Value, Reason> {
    let request = Request { received_at: UnixMillis::new(1_740_493_801_250).expect("a time"), ..Request::default() };
    let options = Options { limits: LIMITS, typed_values, ..Options::default() };
    let mut line = Vec::new();
    let notices = event::write(&mut line, kind, query, &request, &options, |_| Ok(Judged::default()))?;
    Ok(if notices.mode == Mode::Individual { object(&line) } else { Value::Null })
}

/// Turns literals back into their texts.
fn untype(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(untype),
        Value::Object(members) => members.values_mut().for_each(untype),
        Value::Bool(_) | Value::Number(_) => *value = Value::String(value.to_string()),
        Value::String(_) => {}
        Value::Null => panic!("nothing becomes null"),
    }
}
