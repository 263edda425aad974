//! Names, as cheap to copy and to compare as numbers.

use core::fmt;

/// A name, filled up with zeros. Sixteen bytes also hold the shortest name that is too long.
#[derive(Clone, Copy, Default)]
pub struct Name([u8; 16]);

impl Name {
    /// As much of the text as fits.
    #[must_use]
    pub fn new(text: &str) -> Self {
        // Byte by byte into a number: names are short, and a sanitizer makes a call of each copy of memory.
        let number = text.bytes().take(16).rev().fold(0, |number, byte| number << 8 | u128::from(byte));
        Self(number.to_le_bytes())
    }

    /// `stem`, a number, and one more letter if there is one: `epair7a`.
    #[must_use]
    pub fn numbered(stem: &str, number: u32, end: Option<char>) -> Self {
        let mut text = Self::new(stem);
        let digits = number.checked_ilog10().unwrap_or(0);
        for place in (0..=digits).rev() {
            let digit = number / 10_u32.pow(place) % 10;
            text.push(char::from_digit(digit, 10).unwrap_or_default());
        }
        end.into_iter().for_each(|end| text.push(end));
        text
    }

    fn push(&mut self, letter: char) {
        let at = self.len();
        if let Some(to) = self.0.get_mut(at) {
            *to = letter as u8;
        }
    }

    const fn number(self) -> u128 {
        u128::from_le_bytes(self.0)
    }

    /// In bytes.
    #[must_use]
    pub const fn len(self) -> usize {
        16 - self.number().leading_zeros() as usize / 8
    }

    /// Whether it is the empty name.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.number() == 0
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0[..self.len()]).unwrap_or_default()
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.number() == other.number()
    }
}

impl Eq for Name {}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_its_text() {
        for (name, text) in [
            (Name::default(), ""),
            (Name::new("lo0"), "lo0"),
            (Name::new("sixteen-letters-"), "sixteen-letters-"),
            (Name::numbered("epair", 0, Some('a')), "epair0a"),
            (Name::numbered("disc", 32767, None), "disc32767"),
            (Name::numbered("tap", 10, None), "tap10"),
        ] {
            assert_eq!((name.as_str(), name.len(), name.is_empty()), (text, text.len(), text.is_empty()));
            assert_eq!(name, Name::new(text));
        }
        assert_ne!(Name::new("lo0"), Name::new("lo1"));
    }
}
