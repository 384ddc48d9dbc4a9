//! Times of events: Unix milliseconds in, ISO 8601 out, and their `UUIDv7`s.

use jiff::Timestamp;
use jiff::tz::Offset;
use uuid::{NoContext, Uuid};

/// Unix time in milliseconds, between 1970 and the end of 9999.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnixMillis(Timestamp);

impl UnixMillis {
    /// The time of `millis`; None if it is out of range.
    #[must_use]
    pub fn new(millis: i64) -> Option<Self> {
        Timestamp::from_millisecond(millis).ok().filter(|_| millis >= 0).map(Self)
    }

    /// The current time of the gateway's clock.
    #[must_use]
    pub fn now() -> Self {
        Self(Timestamp::now())
    }

    /// The number of milliseconds.
    #[must_use]
    pub fn millis(self) -> i64 {
        self.0.as_millisecond()
    }

    /// ISO 8601 in UTC with milliseconds. It is formatted here, because a general formatter costs as much as the rest
    /// of an event's head.
    #[must_use]
    pub fn iso(self) -> [u8; 24] {
        let time = Offset::UTC.to_datetime(self.0);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let mut put = |at: usize, number: u16| [text[at], text[at + 1]] = two(number);
        let (year, millisecond) = (time.year().unsigned_abs(), time.millisecond().unsigned_abs());
        put(0, year / 100);
        put(2, year % 100);
        put(5, time.month().unsigned_abs().into());
        put(8, time.day().unsigned_abs().into());
        put(11, time.hour().unsigned_abs().into());
        put(14, time.minute().unsigned_abs().into());
        put(17, time.second().unsigned_abs().into());
        put(20, millisecond / 10);
        text[22] = two(millisecond % 10)[1];
        text
    }

    /// A `UUIDv7` of this time (RFC 9562, section 5.7).
    #[must_use]
    pub fn uuid(self) -> Uuid {
        let millis = self.millis().unsigned_abs();
        #[expect(clippy::cast_possible_truncation, reason = "below a billion")]
        let nanos = (millis % 1000 * 1_000_000) as u32;
        Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, millis / 1000, nanos))
    }

    /// The time of a `ts`, if it is plausible: from the year 2000 to 23 hours after receipt (contract, section 4).
    #[must_use]
    pub fn of_ts(ts: &[u8], received_at: Self) -> Option<Self> {
        // Later than all plausible times, and ten times as much still fits.
        const TOO_LATE: i64 = i64::MAX / 100;
        let digit = |number: i64, byte: &u8| {
            let digit = byte.wrapping_sub(b'0');
            (digit < 10 && number < TOO_LATE).then(|| number * 10 + i64::from(digit))
        };
        Self::plausible(ts.iter().try_fold(0, digit)?, received_at)
    }

    /// The time of an ISO 8601 text with an offset from UTC (RFC 3339), if it is plausible as a `ts`.
    #[must_use]
    pub fn of_iso(text: &[u8], received_at: Self) -> Option<Self> {
        let time: Timestamp = str::from_utf8(text).ok()?.parse().ok()?;
        Self::plausible(time.as_millisecond(), received_at)
    }

    fn plausible(millis: i64, received_at: Self) -> Option<Self> {
        const YEAR_2000: i64 = 946_684_800_000;
        const HOURS_23: i64 = 23 * 3_600_000;
        (YEAR_2000..=received_at.millis() + HOURS_23).contains(&millis).then(|| Self::new(millis)).flatten()
    }
}

/// The two digits of a number below a hundred.
fn two(number: u16) -> [u8; 2] {
    const DIGITS: [[u8; 2]; 100] = {
        let mut digits = [*b"00"; 100];
        let mut number = 0;
        while number < 100 {
            digits[number as usize] = [b'0' + number / 10, b'0' + number % 10];
            number += 1;
        }
        digits
    };
    DIGITS[usize::from(number)]
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::UnixMillis;

    #[test]
    fn iso_is_what_the_library_prints() {
        let mut millis = 0;
        while let Some(time) = UnixMillis::new(millis) {
            assert_eq!(String::from_utf8(time.iso().to_vec()).unwrap(), format!("{:.3}", time.0));
            millis += 86_399_999_983;
        }
        assert!(millis > 253_402_300_799_999, "the year 9999 was reached");
    }
}
