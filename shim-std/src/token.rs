//! The replay token: everything that is needed to see a failure again, in one word that can be pasted.
//!
//! `ifn1-` is followed by URL-safe base64 without padding of: a CRC-32 of what follows, the length of the rest, and the
//! deflated body. The body holds the scenario's name and text, the hazards that were open, the options that change what
//! happens, and the schedule as runs of choices. So a token does not depend on a file that may have changed since.
//!
//! Decoding trusts nothing: a token comes from a mail or a chat. White space in it (a wrapped line) is ignored.

use core::fmt;

use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec_with_limit;

use crate::explore::Schedule;

/// What every token starts with; the digit is the version of the format.
const PREFIX: &str = "ifn1-";

/// A body larger than this is refused, however small it was when compressed.
const MAX_BODY: usize = 16 << 20;

/// What a token says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Token {
    /// Name of the scenario: what it is called in messages.
    pub name: String,
    /// Its text.
    pub text: String,
    /// The hazards that were open.
    pub hazards: Vec<String>,
    /// Options by name, such as `tasks` = `deferred`.
    pub options: Vec<(String, String)>,
    /// The decisions.
    pub schedule: Schedule,
}

/// Why a text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// It does not start as a token does.
    Foreign,
    /// It is a token of another version of this program.
    Version,
    /// A character that no token contains, and its position (from 1) in the text.
    Character(char, usize),
    /// Its end is missing.
    Truncated,
    /// It was changed: the checksum does not fit.
    Corrupted,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => write!(f, "this is not a replay token: a token starts with {PREFIX}"),
            Self::Version => write!(f, "this token was made by another version of ifnet; this one reads {PREFIX}"),
            Self::Character(c, at) => write!(f, "{c:?} at position {at} cannot be part of a token"),
            Self::Truncated => f.write_str("the token is cut off: its end is missing"),
            Self::Corrupted => f.write_str("the token is damaged: its checksum does not fit"),
        }
    }
}

impl core::error::Error for TokenError {}

impl Token {
    /// The token as text.
    #[must_use]
    pub fn encode(&self) -> String {
        let Self { name, text, hazards, options, schedule } = self;
        let mut body = Vec::new();
        put_text(&mut body, name);
        put_text(&mut body, text);
        put_number(&mut body, hazards.len() as u64);
        hazards.iter().for_each(|hazard| put_text(&mut body, hazard));
        put_number(&mut body, options.len() as u64);
        for (option, value) in options {
            put_text(&mut body, option);
            put_text(&mut body, value);
        }
        put_number(&mut body, schedule.runs.len() as u64);
        for &(thread, count) in &schedule.runs {
            put_number(&mut body, thread.into());
            put_number(&mut body, count.into());
        }
        let packed = compress_to_vec(&body, 9);
        let mut rest = Vec::new();
        put_number(&mut rest, packed.len() as u64);
        rest.extend(packed);
        let bytes: Vec<u8> = crc32(&rest).to_le_bytes().into_iter().chain(rest).collect();
        format!("{PREFIX}{}", base64(&bytes))
    }

    /// Reads a token.
    ///
    /// # Errors
    ///
    /// [`TokenError`], if the text is not a token, or is one no more.
    pub fn decode(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let Some(digits) = text.strip_prefix(PREFIX) else {
            let other = text.strip_prefix("ifn").and_then(|rest| rest.split_once('-'));
            let versioned = other.is_some_and(|(n, _)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
            return Err(if versioned { TokenError::Version } else { TokenError::Foreign });
        };
        let bytes = unbase64(digits)?;
        let (crc, rest) = bytes.split_first_chunk::<4>().ok_or(TokenError::Truncated)?;
        let mut reader = Reader(rest);
        let length = reader.number().ok_or(TokenError::Truncated)?;
        if (reader.0.len() as u64) < length {
            return Err(TokenError::Truncated);
        }
        if u32::from_le_bytes(*crc) != crc32(rest) || reader.0.len() as u64 != length {
            return Err(TokenError::Corrupted);
        }
        let body = decompress_to_vec_with_limit(reader.0, MAX_BODY).map_err(|_| TokenError::Corrupted)?;
        Reader(&body).token().ok_or(TokenError::Corrupted)
    }
}

/// Takes a body apart; every step is `None` when the bytes are not there or make no sense.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn token(mut self) -> Option<Token> {
        let (name, text) = (self.text()?, self.text()?);
        let hazards = self.list(Self::text)?;
        let options = self.list(|reader| Some((reader.text()?, reader.text()?)))?;
        let number = |reader: &mut Self| u32::try_from(reader.number()?).ok();
        let runs = self.list(|reader| Some((number(reader)?, number(reader)?)))?;
        self.0.is_empty().then_some(Token { name, text, hazards, options, schedule: Schedule { runs } })
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        // Collected one by one: the count is not believed, so it reserves nothing.
        (0..self.number()?).map(|_| item(self)).collect()
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok()
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// The CRC of IEEE 802.3, bit by bit: a token is short.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 })
    })
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().enumerate().fold(0_u32, |bits, (i, &byte)| bits | u32::from(byte) << (16 - 8 * i));
        for digit in 0..=chunk.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * digit)) as usize & 63]));
        }
    }
    text
}

fn unbase64(text: &str) -> Result<Vec<u8>, TokenError> {
    let mut bytes = Vec::new();
    let (mut bits, mut held) = (0_u32, 0);
    for (at, c) in text.chars().enumerate().filter(|(_, c)| !c.is_ascii_whitespace()) {
        let digit = DIGITS.iter().position(|&digit| char::from(digit) == c);
        let digit = digit.ok_or(TokenError::Character(c, at + PREFIX.len() + 1))?;
        bits = bits << 6 | digit as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    // The bits that are left over are zero in what `base64` writes.
    if held == 6 || bits != 0 { Err(TokenError::Truncated) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Token {
        Token {
            name: "pr292993.sh".into(),
            text: "( devctl detach em0 ) &\njail -c name=j vnet persist vnet.interface=em0 # ä\nwait\n".repeat(9),
            hazards: vec!["vmove-unlocked".into(), "if_detach-silent".into()],
            options: vec![("tasks".into(), "deferred".into())],
            schedule: Schedule { runs: vec![(0, 3), (2, 1), (1, 70_000), (2, u32::MAX)] },
        }
    }

    #[test]
    fn round_trip() {
        for token in [sample(), Token::default()] {
            let text = token.encode();
            assert!(text.starts_with(PREFIX) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
            assert_eq!(Token::decode(&text), Ok(token));
        }
        assert!(sample().encode().len() < 300, "compressed");
        let wrapped: String = sample().encode().chars().flat_map(|c| [c, if c == 'A' { '\n' } else { c }]).collect();
        assert_ne!(Token::decode(&wrapped), Ok(sample()), "doubled characters");
        let text = sample().encode();
        let (head, tail) = text.split_at(60);
        assert_eq!(Token::decode(&format!("  {head}\n   {tail}\n")), Ok(sample()));
    }

    #[test]
    fn the_checksum_is_the_known_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(base64(b"any carnal pleas"), "YW55IGNhcm5hbCBwbGVhcw");
    }

    #[test]
    fn every_truncation_and_every_change_is_an_error() {
        let text = sample().encode();
        for end in 0..text.len() {
            assert!(Token::decode(&text[..end]).is_err(), "cut at {end}");
        }
        assert_eq!(Token::decode(&text[..text.len() / 2]), Err(TokenError::Truncated));
        for at in PREFIX.len()..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'x' { b'y' } else { b'x' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(Token::decode(&changed).is_err(), "changed at {at}");
        }
    }

    #[test]
    fn random_bodies_never_panic() {
        let mut seed = 7_u64;
        let mut random = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as u8
        };
        for length in 0..600 {
            // With a right checksum, so that the inner layers are reached too.
            let noise: Vec<u8> = (0..length % 40).map(|_| random()).collect();
            let packed = if length % 2 == 0 { compress_to_vec(&noise, 6) } else { noise };
            let mut rest = Vec::new();
            put_number(&mut rest, packed.len() as u64);
            rest.extend(packed);
            let bytes: Vec<u8> = crc32(&rest).to_le_bytes().into_iter().chain(rest).collect();
            let _ = Token::decode(&format!("{PREFIX}{}", base64(&bytes)));
        }
    }

    #[test]
    fn errors_say_what_is_wrong() {
        assert_eq!(Token::decode("hello"), Err(TokenError::Foreign));
        assert_eq!(Token::decode(""), Err(TokenError::Foreign));
        assert_eq!(Token::decode("ifn2-AAAA"), Err(TokenError::Version));
        assert_eq!(Token::decode("ifn1-"), Err(TokenError::Truncated));
        assert_eq!(Token::decode("ifn1-AA=A"), Err(TokenError::Character('=', 8)));
        assert_eq!(TokenError::Character('=', 8).to_string(), "'=' at position 8 cannot be part of a token");
    }
}
