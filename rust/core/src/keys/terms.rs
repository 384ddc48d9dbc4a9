//! Reads the consent members of an entry in the key file, and checks that they agree with each other (contract, section
//! 9).

use toml::Spanned;

use crate::consent::ceilings::Person;
use crate::consent::{Lookup, Mode, Terms};

/// The most properties, because each one multiplies the counts.
const PROPERTIES: usize = 16;
const PATH_BYTES: usize = 128;
const SCOPE_BYTES: usize = 64;

/// The members as they are written.
pub(super) struct Said {
    pub max: Option<Spanned<String>>,
    pub default: Option<Spanned<String>>,
    pub consent: Option<Spanned<String>>,
    pub unknown: Option<Spanned<String>>,
    pub scope: Option<Spanned<String>>,
    pub properties: Option<Spanned<Vec<String>>>,
    pub minimum: Option<Spanned<i64>>,
    pub refuse_addresses: bool,
}

/// The place of an error, and its text.
type Wrong = (usize, String);

impl Said {
    /// The terms of the pipeline `id`; None if it states none.
    pub fn check(self, id: &str) -> Result<Option<Terms>, Wrong> {
        let max = mode(self.max.as_ref(), id, "max")?.unwrap_or(Mode::Individual);
        let default = mode(self.default.as_ref(), id, "default")?;
        let unknown = mode(self.unknown.as_ref(), id, "unknown")?;
        for (name, said, given) in [("default", default, &self.default), ("unknown", unknown, &self.unknown)] {
            if let (Some(said), Some(given)) = (said, given)
                && said.meet(max) != said
            {
                let message =
                    format!("{name} {:?} of {id} is more than its max {:?} allows", said.as_str(), max.as_str());
                return Err((given.span().start, message));
            }
        }
        let lookup = self.lookup(max, unknown, id)?;
        let (at, given) = match (&self.properties, &self.minimum) {
            (Some(given), _) => (given.span().start, "aggregate_properties"),
            (None, Some(given)) => (given.span().start, "aggregate_minimum"),
            (None, None) => (0, ""),
        };
        if !given.is_empty() && max.meet(Mode::Aggregate) != Mode::Aggregate {
            return Err((at, format!("{given} of {id} needs counts, which its max {:?} does not allow", max.as_str())));
        }
        let properties = self.properties.as_ref().map_or(Ok(Box::default()), |paths| paths_of(paths, id))?;
        let minimum = self.minimum.as_ref().map_or(Ok(Terms::MINIMUM), |minimum| minimum_of(minimum, id))?;
        let terms = Terms { max, default, lookup, properties, minimum, refuse_addresses: self.refuse_addresses };
        Ok((terms != Terms::default()).then_some(terms))
    }
}

impl Said {
    /// How persons are looked up; None if they are not.
    fn lookup(&self, max: Mode, unknown: Option<Mode>, id: &str) -> Result<Option<Lookup>, Wrong> {
        let Some(consent) = &self.consent else {
            let needs = [("unknown", &self.unknown), ("scope", &self.scope)];
            let given = needs.iter().find_map(|(name, given)| given.as_ref().map(|given| (name, given)));
            return given.map_or(Ok(None), |(name, given)| {
                let message =
                    format!("{name} of {id} needs consent = \"uid\" or \"aid\", without which nobody is looked up");
                Err((given.span().start, message))
            });
        };
        let kind = kind(consent, id)?;
        if matches!(max, Mode::Aggregate | Mode::None) {
            let message = format!("consent of {id} looks up persons, but max {:?} keeps nothing of them", max.as_str());
            return Err((consent.span().start, message));
        }
        let scope = self.scope.as_ref().map_or(Ok(id), |scope| scope_of(scope, id))?;
        Ok(Some(Lookup { kind, unknown: unknown.unwrap_or(Mode::None), scope: scope.into() }))
    }
}

fn mode(said: Option<&Spanned<String>>, id: &str, name: &str) -> Result<Option<Mode>, Wrong> {
    let Some(said) = said else { return Ok(None) };
    let found = Mode::ALL.into_iter().find(|mode| mode.as_str() == said.get_ref());
    let message =
        || format!("{name} {:?} of {id} is not individual, deliverability, aggregate or none", said.get_ref());
    found.map(Some).ok_or_else(|| (said.span().start, message()))
}

fn kind(said: &Spanned<String>, id: &str) -> Result<Person, Wrong> {
    match said.get_ref().as_str() {
        "uid" => Ok(Person::Uid),
        "aid" => Ok(Person::Aid),
        other => {
            Err((said.span().start, format!("consent {other:?} of {id} is not uid or aid, the id that names persons")))
        }
    }
}

fn scope_of<'s>(said: &'s Spanned<String>, id: &str) -> Result<&'s str, Wrong> {
    let scope = said.get_ref();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if (1..=SCOPE_BYTES).contains(&scope.len()) && scope.chars().all(fits) {
        return Ok(scope);
    }
    Err((said.span().start, format!("scope {scope:?} of {id} is not 1 to {SCOPE_BYTES} of A-Z a-z 0-9 . _ -")))
}

fn paths_of(said: &Spanned<Vec<String>>, id: &str) -> Result<Box<[Box<str>]>, Wrong> {
    let (at, paths) = (said.span().start, said.get_ref());
    if paths.len() > PROPERTIES {
        return Err((at, format!("aggregate_properties of {id} are more than {PROPERTIES}")));
    }
    for (index, path) in paths.iter().enumerate() {
        let wrong = if path.is_empty() || path.len() > PATH_BYTES || path.contains(char::is_control) {
            format!("is not a path of 1 to {PATH_BYTES} bytes, such as campaign.id for p.campaign.id")
        } else if paths[..index].contains(path) {
            "is listed twice".to_owned()
        } else {
            continue;
        };
        return Err((at, format!("aggregate_properties of {id}: {path:?} {wrong}")));
    }
    Ok(paths.iter().map(|path| path.as_str().into()).collect())
}

fn minimum_of(said: &Spanned<i64>, id: &str) -> Result<u64, Wrong> {
    match u64::try_from(*said.get_ref()) {
        Ok(minimum @ 1..=1_000_000) => Ok(minimum),
        _ => Err((said.span().start, format!("aggregate_minimum {} of {id} is not 1 to 1000000", said.get_ref()))),
    }
}
