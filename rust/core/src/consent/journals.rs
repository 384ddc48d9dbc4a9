//! The journals of reduced records.

use std::sync::{Arc, Mutex, PoisonError};

use super::Mode;
use crate::journal::{Error, Journal};
use crate::time::UnixMillis;

/// The journals of openings and of loads. Without them, nothing is kept of requests in these modes.
#[derive(Default)]
pub struct Journals {
    /// The days of openings.
    pub openings: Option<Arc<Journal>>,
    /// The loads. A journal has those of one window only, so that it can be counted and deleted as a whole.
    pub loads: Option<Arc<Journal>>,
    /// The beginning of the window of the loads.
    pub window: Mutex<UnixMillis>,
}

impl Journals {
    /// Appends an ended line in the journal of a mode.
    pub(crate) fn append(&self, mode: Mode, line: &[u8], window: UnixMillis) -> Result<(), Error> {
        match (mode, &self.openings, &self.loads) {
            (Mode::Deliverability, Some(openings), _) => openings.append_lines(line).map(drop),
            (Mode::Aggregate, _, Some(loads)) => self.in_window(loads, window, || loads.append_lines(line).map(drop)),
            _ => Ok(()),
        }
    }

    /// Releases the journal of loads if its window is not this one. Then the journal is complete, and can be counted.
    pub(crate) fn turn(&self, window: UnixMillis) -> Result<(), Error> {
        self.loads.as_ref().map_or(Ok(()), |loads| self.in_window(loads, window, || Ok(())))
    }

    fn in_window(
        &self,
        loads: &Journal,
        window: UnixMillis,
        work: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut at = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if *at != window {
            if loads.end() > 0 {
                loads.renew()?;
            }
            *at = window;
        }
        work()
    }

    /// Flushes both journals.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        let mut journals = [&self.openings, &self.loads].into_iter().flatten();
        journals.try_for_each(|journal| journal.sync().map(drop))
    }
}
