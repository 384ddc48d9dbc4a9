//! What an event is made of.

use std::borrow::Cow;
use std::net::SocketAddr;

use axum::http::HeaderMap;
use serde::Serialize;

use crate::tree::Members;

pub type Text<'a> = Cow<'a, str>;

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event<'a> {
    pub r#type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Text<'a>>,
    pub message_id: Text<'a>,
    pub timestamp: String,
    pub received_at: String,
    pub pipeline_key: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anonymous_id: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_id: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Members::is_empty")]
    pub properties: Members,
    #[serde(skip_serializing_if = "Members::is_empty")]
    pub traits: Members,
    pub context: Context<'a>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Context<'a> {
    ip: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    locale: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<Page<'a>>,
    #[serde(skip_serializing_if = "Members::is_empty")]
    pub campaign: Members,
    #[serde(skip_serializing_if = "Members::is_empty")]
    consent: Members,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repaired: Option<Repaired<'a>>,
    library: Library,
}

#[derive(Serialize)]
pub struct Page<'a> {
    url: &'a str,
}

#[derive(Serialize)]
pub struct Repaired<'a> {
    pub ts: Text<'a>,
}

#[derive(Serialize)]
pub struct Library {
    name: &'static str,
    version: &'static str,
}

impl Default for Library {
    fn default() -> Self {
        Self { name: "pixelcore", version: "0.1.0" }
    }
}

impl<'a> Context<'a> {
    /// What the connection and the headers say.
    pub fn fill(&mut self, client: SocketAddr, headers: &'a HeaderMap) {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).filter(|value| !value.is_empty());
        self.ip = client.ip().to_string();
        self.user_agent = header("user-agent");
        self.locale = header("accept-language")
            .and_then(|languages| languages.split([',', ';']).next())
            .map(str::trim)
            .filter(|language| !matches!(*language, "" | "*"));
        self.page = header("referer").map(|url| Page { url });
        for (member, name) in [("gpc", "sec-gpc"), ("dnt", "dnt")] {
            if header(name) == Some("1") {
                self.consent.insert(member.to_owned(), true.into());
            }
        }
    }
}
