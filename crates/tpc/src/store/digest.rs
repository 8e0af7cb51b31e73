//! SHA-256 as it is needed here. ring's assembly is used for its speed on processors without SHA instructions, which
//! many switches have.

use ring::digest::{Context, SHA256};

/// A digest that is being made.
#[derive(Clone)]
pub(crate) struct Sha256(Context);

impl Sha256 {
    pub(crate) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    pub(crate) fn of(bytes: &[u8]) -> String {
        let mut digest = Self::new();
        digest.update(bytes);
        digest.finish()
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// `sha256:` and the digits.
    pub(crate) fn finish(self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::from("sha256:");
        for byte in self.0.finish().as_ref() {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        text
    }
}
