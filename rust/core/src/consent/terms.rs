//! A pipeline's terms, and the mode of a request: the meet of all limits (contract, section 9).

use super::Mode;
use super::ceilings::{Ceiling, Person};
use crate::event::Judged;

/// The terms of a pipeline, if its entry in the key file states any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The most that is ever kept.
    pub max: Mode,
    /// The mode of a URL without a mode; None stands for `max`.
    pub default: Option<Mode>,
    /// How persons are looked up; None if they are not.
    pub lookup: Option<Lookup>,
    /// The properties by which counts are split, as paths like in `p.<path>`.
    pub properties: Box<[Box<str>]>,
    /// Counts below it are merged into the rest.
    pub minimum: u64,
    /// Whether a URL is rejected if it seems to contain a mail address.
    pub refuse_addresses: bool,
}

/// How persons are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// The kind of their ids.
    pub kind: Person,
    /// The mode of persons without a record.
    pub unknown: Mode,
    /// The scope of their consents.
    pub scope: Box<str>,
}

impl Terms {
    /// The default minimum: counts below it are merged into the rest.
    pub const MINIMUM: u64 = 5;

    /// Whether these terms may keep less than the event.
    #[must_use]
    pub fn reduces(&self) -> bool {
        self.lookup.is_some() || self.max.meet(self.default.unwrap_or(self.max)) != Mode::Individual
    }
}

impl Default for Terms {
    fn default() -> Self {
        let properties = Box::default();
        Self {
            max: Mode::Individual,
            default: None,
            lookup: None,
            properties,
            minimum: Self::MINIMUM,
            refuse_addresses: false,
        }
    }
}

/// The limits for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// The pipeline's `max`.
    pub max: Mode,
    /// The pipeline's `default`, if it states one.
    pub default: Option<Mode>,
    /// The mode in the URL's `m`, if there is an `m`. The inner None stands for an unknown mode.
    pub url: Option<Option<Mode>>,
    /// If persons are looked up, this person's ceiling, and the mode of unknown persons.
    pub person: Option<(Ceiling, Mode)>,
    /// The most that Sec-GPC allows.
    pub gpc: Mode,
}

/// The mode of a request.
///
/// An `m` with an unknown mode counts as the `default` that the file states, as if there were no `m`. If the file
/// states none, nothing is kept: the author of the URL wanted a limit, and `individual` would be a guess.
#[must_use]
pub fn mode(wishes: Wishes) -> Mode {
    let Wishes { max, default, url, person, gpc } = wishes;
    let asked = match url {
        Some(Some(mode)) => mode,
        Some(None) => default.unwrap_or(Mode::None),
        None => default.unwrap_or(max),
    };
    let ceiling = match person {
        None => Mode::Individual,
        Some((Ceiling::Of { mode, .. }, _)) => mode,
        Some((Ceiling::Stale { mode, .. }, unknown)) => mode.meet(unknown),
        Some((Ceiling::Unknown, unknown)) => unknown,
        Some((Ceiling::Unreadable, _)) => Mode::None,
    };
    max.meet(asked).meet(ceiling).meet(gpc)
}

impl Wishes {
    /// The limits for a request. `url` is its `m`, decoded and trimmed, and `ids` are its `uid` and `aid`. Without a
    /// list, all persons are unknown.
    #[cold]
    pub(crate) fn of(url: &[u8], [uid, aid]: [&[u8]; 2], judged: Judged<'_>, gpc: Mode) -> Self {
        let url = (!url.is_empty()).then(|| Mode::parse(url));
        let Some(terms) = judged.terms else {
            return Self { max: Mode::Individual, default: None, url, person: None, gpc };
        };
        let person = terms.lookup.as_ref().map(|lookup| {
            let id = if lookup.kind == Person::Uid { uid } else { aid };
            let ceiling = match judged.ceilings {
                Some(ceilings) if !id.is_empty() => ceilings.ceiling(&lookup.scope, lookup.kind, id),
                _ => Ceiling::Unknown,
            };
            (ceiling, lookup.unknown)
        });
        Self { max: terms.max, default: terms.default, url, person, gpc }
    }
}
