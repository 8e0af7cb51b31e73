//! By what an operator names a cluster: the pin of its CA.

use std::fmt;

/// The SHA-256 of the public key of a cluster's CA, as `kubeadm join --discovery-token-ca-cert-hash` takes it.
#[derive(Clone, PartialEq, Eq)]
pub struct CaPin([u8; 32]);

/// Why a text is no pin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid pin {0:?}: it must be sha256: and 64 hexadecimal digits")]
pub struct BadPin(String);

impl CaPin {
    /// Takes `sha256:` and 64 hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, BadPin> {
        let bad = || BadPin(text.chars().take("sha256:".len() + 65).collect());
        let digits = text.strip_prefix("sha256:").ok_or_else(bad)?;
        if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(bad());
        }
        let mut hash = [0; 32];
        for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| bad())?;
        }
        Ok(Self(hash))
    }

    /// The pin that is this hash.
    pub fn of_sha256(hash: [u8; 32]) -> Self {
        Self(hash)
    }
}

impl fmt::Display for CaPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CaPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CaPin({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_a_hash_in_hexadecimal_digits() {
        let text = format!("sha256:{}", "0aF9".repeat(16));
        let pin = CaPin::parse(&text).unwrap();
        assert_eq!(pin.0[..2], [0x0a, 0xf9]);
        assert_eq!(pin.to_string(), text.to_lowercase());
        assert_eq!(CaPin::of_sha256(pin.0), pin);
        let (short, sign) = (&text[..70], format!("sha256:+1{}", "0".repeat(62)));
        let others = [format!("sha256:{}ä", "0".repeat(62)), "é".repeat(40), text.replacen("256", "1", 1)];
        for bad in
            ["", "none", "sha256:", short, &format!("{text}0"), &text[7..], &text.replace('F', "g"), &sign]
                .into_iter()
                .chain(others.iter().map(String::as_str))
        {
            assert!(CaPin::parse(bad).is_err(), "{bad:?} was taken");
        }
    }
}
