//! The signed form of a query: its decoded parameters, independent of their order and encoding.

use crate::query::form::{self, Raw};
use crate::query::layout::unescape_amp;

/// The role of a parameter for a signature and a seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It is covered by a signature, and not allowed next to a seal.
    Covered,
    /// `wk`: covered by both.
    Key,
    /// `cb` and `utm_*`, which mail tools and analytics add on the way: covered by neither.
    Free,
    /// The signature `s`.
    Signature,
    /// The seal `x`.
    Sealed,
}

impl Role {
    fn of(name: &[u8]) -> Self {
        match name {
            b"wk" => Self::Key,
            b"s" => Self::Signature,
            b"x" => Self::Sealed,
            b"cb" => Self::Free,
            name if name.starts_with(b"utm_") => Self::Free,
            _ => Self::Covered,
        }
    }
}

/// A query's parameters.
pub struct Parameters<'q> {
    /// The name and the value of each parameter, decoded, each after its length.
    text: Vec<u8>,
    parts: Vec<Part<'q>>,
}

struct Part<'q> {
    role: Role,
    name: Raw<'q>,
    value: Raw<'q>,
    /// The places in the text where it begins, where its value begins, and where it ends.
    places: [usize; 3],
}

/// The bytes of a length.
const LENGTH: usize = size_of::<u32>();

impl<'q> Parameters<'q> {
    /// Reads a query, with any number of parameters. The first non-empty `s` and `x` have their roles. Further ones are
    /// ordinary parameters.
    pub fn read(query: &'q [u8]) -> Self {
        let mut read = Self { text: Vec::with_capacity(2 * query.len() + 64), parts: Vec::new() };
        for (name, value) in form::pairs(query) {
            let begin = read.text.len();
            let role = Role::of(read.append(query, name, unescape_amp));
            let middle = read.text.len();
            let is_empty = read.append(query, value, |value| value).is_empty();
            let is_taken = || read.value(role).is_some();
            let role = match role {
                Role::Signature | Role::Sealed if is_empty || is_taken() => Role::Covered,
                role => role,
            };
            let places = [begin, middle, read.text.len()];
            read.parts.push(Part { role, name, value, places });
        }
        read
    }

    /// Appends a decoded text after its length, without the beginning that `cut` removes. Bytes stay as they are, UTF-8
    /// or not, so that different bytes stay different.
    fn append(&mut self, query: &[u8], raw: Raw<'_>, cut: impl Fn(&[u8]) -> &[u8]) -> &[u8] {
        let begin = self.text.len() + LENGTH;
        self.text.extend_from_slice(&[0; LENGTH]);
        raw.decode_bytes_into(query, &mut self.text);
        let whole = self.text.len() - begin;
        let length = cut(&self.text[begin..]).len();
        self.text.drain(begin..begin + whole - length);
        self.text[begin - LENGTH..begin].copy_from_slice(&prefix(length));
        &self.text[begin..]
    }

    /// The first value of a role.
    pub fn value(&self, role: Role) -> Option<&[u8]> {
        self.parts.iter().find(|part| part.role == role).map(|part| self.value_of(part))
    }

    fn value_of(&self, part: &Part<'_>) -> &[u8] {
        &self.text[part.places[1] + LENGTH..part.places[2]]
    }

    /// The signed message: the type and the parameters, each after its length, sorted by these bytes.
    pub fn message(&self, kind: &str) -> Vec<u8> {
        let covered = self.parts.iter().filter(|part| matches!(part.role, Role::Covered | Role::Key));
        let mut covered: Vec<_> = covered.map(|part| &self.text[part.places[0]..part.places[2]]).collect();
        covered.sort_unstable();
        let mut message = Vec::with_capacity(LENGTH + kind.len() + self.text.len());
        message.extend_from_slice(&prefix(kind.len()));
        message.extend_from_slice(kind.as_bytes());
        for bytes in covered {
            message.extend_from_slice(bytes);
        }
        message
    }

    /// The key of a sealed query. None if there are further parameters next to the seal, which somebody may have added
    /// on the way.
    pub fn key_beside_seal(&self) -> Option<&[u8]> {
        let mut beside = self.parts.iter().filter(|part| !matches!(part.role, Role::Sealed | Role::Free));
        let key = beside.next().filter(|part| part.role == Role::Key)?;
        beside.next().is_none().then(|| self.value_of(key))
    }

    /// The query that counts for a sealed query. The sealed parameters come before the free ones, so that sealed
    /// reserved names have priority.
    pub fn around(&self, inside: &[u8]) -> Vec<u8> {
        let mut query = Vec::new();
        self.append_raw(&mut query, Role::Key);
        query.extend_from_slice(inside);
        query.push(b'&');
        self.append_raw(&mut query, Role::Free);
        query.pop();
        query
    }

    /// Appends the parameters of a role as they were sent, each with a `&`.
    fn append_raw(&self, query: &mut Vec<u8>, role: Role) {
        for Part { name, value, .. } in self.parts.iter().filter(|part| part.role == role) {
            query.extend_from_slice(name.bytes);
            query.push(b'=');
            query.extend_from_slice(value.bytes);
            query.push(b'&');
        }
    }
}

/// A length in its signed form.
#[expect(clippy::cast_possible_truncation, reason = "no query reaches 4 GiB")]
pub fn prefix(length: usize) -> [u8; LENGTH] {
    (length as u32).to_be_bytes()
}
