//! The modes. They form a diamond: neither of the middle two contains the other.

/// The most that may be kept of a request. Each bit is a right, and an individual event needs both rights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// A count of requests, and nothing else.
    None = 0b00,
    /// The day of a person's last opening.
    Deliverability = 0b01,
    /// A count without a person.
    Aggregate = 0b10,
    /// The event (contract, section 4).
    #[default]
    Individual = 0b11,
}

impl Mode {
    /// All modes, each at its byte.
    pub const ALL: [Self; 4] = [Self::None, Self::Deliverability, Self::Aggregate, Self::Individual];

    /// The most that both modes allow. Neither of `Deliverability` and `Aggregate` contains the other, so both together
    /// allow `None`.
    #[must_use]
    pub const fn meet(self, other: Self) -> Self {
        Self::ALL[(self as u8 & other as u8) as usize]
    }

    /// Reads `individual`, `deliverability`, `aggregate`, `none`, or `i`, `d`, `a`, `n`.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| {
            let word = mode.as_str().as_bytes();
            text == word || text == &word[..1]
        })
    }

    /// The mode's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Deliverability => "deliverability",
            Self::Aggregate => "aggregate",
            Self::Individual => "individual",
        }
    }

    /// The mode as a byte of a file, 0 to 3.
    #[must_use]
    pub const fn as_byte(self) -> u8 {
        self as u8
    }

    /// The mode of a byte; None if the byte is not a mode.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }
}
