//! JSON with holes for values.

use crate::query::form::{self, Raw};
use crate::query::parameters::Parameters;
use crate::{json, text};

/// A JSON object whose values are still to be filled in.
#[derive(Default)]
pub struct Object {
    /// The text around the values. [`form::BEHIND`] follows it, so that it can be copied in blocks.
    pub(super) text: Vec<u8>,
    pub(super) holes: Vec<Hole>,
}

/// A value's place.
pub(super) struct Hole {
    /// Its place in the text.
    pub at: u32,
    /// The parameter of the value.
    pub parameter: u32,
}

impl Object {
    /// Whether it has no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.holes.is_empty()
    }

    /// Appends the object, with the values of a query with the same names.
    ///
    /// With `typed`, a value that looks like a JSON literal becomes one; see [`text::is_literal`].
    pub fn write(&self, out: &mut Vec<u8>, parameters: &Parameters<'_, '_>, typed: bool) {
        let mut from = 0;
        for &Hole { at, parameter } in &self.holes {
            form::copy(out, &self.text[from..], at as usize - from);
            from = at as usize;
            let value = parameters.value(parameter);
            if typed {
                typed_value(out, value);
            } else {
                let behind = form::behind(parameters.query, value.bytes);
                json::form_text(out, behind, value.bytes.len(), value.plain);
            }
        }
        form::copy(out, &self.text[from..], self.text.len() - form::BEHIND.len() - from);
    }
}

fn typed_value(out: &mut Vec<u8>, value: Raw<'_>) {
    let decoded = value.decode();
    if text::is_literal(&decoded) {
        out.extend_from_slice(&decoded);
    } else {
        json::string(out, &decoded);
    }
}
