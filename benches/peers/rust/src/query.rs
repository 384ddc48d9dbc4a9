//! From a query to one JSON event.

use std::borrow::Cow;
use std::net::SocketAddr;

use axum::http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::event::{Event, Repaired, Text};
use crate::tree::{insert, settle_below};

const MAX_QUERY_BYTES: usize = 8192;
const MAX_PARAMETERS: usize = 256;
const MAX_DEPTH: usize = 32;
const YEAR_2000: i64 = 946_684_800_000;

/// The event of a request, and the key of its record.
pub fn build(
    kind: &str,
    query: &str,
    client: SocketAddr,
    headers: &HeaderMap,
) -> Result<(Option<String>, Vec<u8>), &'static str> {
    if query.len() > MAX_QUERY_BYTES {
        return Err("query_too_long");
    }
    let now = Timestamp::now();
    let mut event = Event { r#type: kind, received_at: format!("{now:.3}"), ..Event::default() };
    let (mut key, mut name, mut message_id, mut ts) = (None, None, None, None);
    for (index, (parameter, value)) in form_urlencoded::parse(query.as_bytes()).enumerate() {
        if index == MAX_PARAMETERS {
            return Err("too_many_parameters");
        }
        let parameter = parameter.strip_prefix("amp;").unwrap_or(&parameter);
        match parameter {
            "wk" => first(&mut key, trim(value)),
            "e" => first(&mut name, value),
            "uid" => first(&mut event.user_id, trim(value)),
            "aid" => first(&mut event.anonymous_id, unquote(trim(value))),
            "gid" => first(&mut event.group_id, trim(value)),
            "mid" => first(&mut message_id, trim(value)),
            "ts" => first(&mut ts, value),
            _ => {
                let (members, path) = if let Some(path) = parameter.strip_prefix("p.") {
                    (&mut event.properties, path)
                } else if let Some(path) = parameter.strip_prefix("t.") {
                    (&mut event.traits, path)
                } else {
                    if let (Some(member), false) = (campaign(parameter), value.is_empty()) {
                        event.context.campaign.entry(member).or_insert_with(|| value.into());
                    }
                    continue;
                };
                if path.split('.').count() > MAX_DEPTH {
                    return Err("too_deep");
                }
                insert(members, path, &value);
            }
        }
    }
    event.pipeline_key = key.ok_or("missing_key")?;
    if event.pipeline_key.len() > 64
        || !event.pipeline_key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    {
        return Err("malformed_key");
    }
    match kind {
        "track" => event.event = Some(name.ok_or("missing_event")?),
        "page" => event.name = name,
        _ => {}
    }
    event.message_id = message_id.unwrap_or_else(|| Uuid::now_v7().to_string().into());
    settle_below(&mut event.properties);
    settle_below(&mut event.traits);
    event.context.fill(client, headers);
    match ts.as_deref().map(|ts| plausible(ts, now)) {
        Some(Some(sent)) => event.timestamp = format!("{sent:.3}"),
        unusable => {
            event.timestamp.clone_from(&event.received_at);
            event.context.repaired = unusable.and(ts).map(|ts| Repaired { ts });
        }
    }
    let json = serde_json::to_vec(&event).map_err(|_| "not JSON")?;
    Ok((event.user_id.or(event.anonymous_id).map(Cow::into_owned), json))
}

/// Of a repeated name the first value that is not empty counts.
fn first<'a>(field: &mut Option<Text<'a>>, value: Text<'a>) {
    if field.is_none() && !value.is_empty() {
        *field = Some(value);
    }
}

fn trim(text: Text<'_>) -> Text<'_> {
    let trimmed = text.trim_matches(|c: char| c.is_whitespace() || c.is_control());
    if trimmed.len() == text.len() { text } else { trimmed.to_owned().into() }
}

/// AMP quotes the `CLIENT_ID` that it substitutes.
fn unquote(text: Text<'_>) -> Text<'_> {
    match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(inner) => trim(inner.to_owned().into()),
        None => text,
    }
}

fn campaign(parameter: &str) -> Option<&'static str> {
    Some(match parameter {
        "utm_source" => "source",
        "utm_medium" => "medium",
        "utm_campaign" => "name",
        "utm_term" => "term",
        "utm_content" => "content",
        _ => return None,
    })
}

/// The time that `ts` names, unless it lies before 2000 or 23 hours ahead.
fn plausible(ts: &str, now: Timestamp) -> Option<Timestamp> {
    let sent = ts.bytes().all(|byte| byte.is_ascii_digit()).then(|| ts.parse().ok())??;
    let latest = now.checked_add(SignedDuration::from_hours(23)).ok()?;
    Timestamp::from_millisecond(sent).ok().filter(|at| sent >= YEAR_2000 && *at <= latest)
}
