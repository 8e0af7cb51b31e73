//! The signature of a bootstrap token on `cluster-info`: JWS in its compact form with detached content, HS256, as
//! Kubernetes' bootstrap signer writes it (RFC 7515, appendix F).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde::Deserialize;

use crate::token::Token;

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
}

/// Whether this is the signature of that token on that content.
pub(crate) fn holds(signature: &str, content: &[u8], token: &Token) -> bool {
    check(signature, content, token).is_some()
}

fn check(signature: &str, content: &[u8], token: &Token) -> Option<()> {
    let (header, rest) = signature.split_once('.')?;
    let sum = rest.strip_prefix('.')?;
    let read: Header = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
    // The header is the stranger's choice: another algorithm, or none, is no signature.
    if read.alg != "HS256" || read.kid != token.id() {
        return None;
    }
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(content));
    let key = hmac::Key::new(hmac::HMAC_SHA256, token.secret());
    hmac::verify(&key, signed.as_bytes(), &URL_SAFE_NO_PAD.decode(sum).ok()?).ok()
}

/// Signs as the cluster does, for tests of both this file and discovery.
#[cfg(test)]
pub(crate) fn sign(content: &[u8], token: &Token) -> String {
    let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"HS256","kid":"{}"}}"#, token.id()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, token.secret());
    let sum = hmac::sign(&key, format!("{header}.{}", URL_SAFE_NO_PAD.encode(content)).as_bytes());
    format!("{header}..{}", URL_SAFE_NO_PAD.encode(sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> Token {
        Token::parse(text).unwrap()
    }

    /// Made by Python's hmac and base64 over the content `kind: Config\n`, not by the code above.
    const OTHERS: &str =
        "eyJhbGciOiJIUzI1NiIsImtpZCI6ImFiY2RlZiJ9..3ZR7IfHD4V0NLYjj9trDyCFIZSwMzkyMpnxx9vCiSPI";

    #[test]
    fn a_signature_made_elsewhere_holds_and_only_for_its_content_and_token() {
        let ours = token("abcdef.0123456789abcdef");
        assert!(holds(OTHERS, b"kind: Config\n", &ours));
        assert!(!holds(OTHERS, b"kind: Config", &ours));
        assert!(!holds(OTHERS, b"kind: Config\n", &token("abcdef.0123456789abcdee")));
        assert!(!holds(OTHERS, b"kind: Config\n", &token("abcdeg.0123456789abcdef")));
        assert_eq!(sign(b"kind: Config\n", &ours), OTHERS);
    }

    #[test]
    fn no_header_talks_its_way_out_of_being_checked() {
        let ours = token("abcdef.0123456789abcdef");
        let header = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let sum = OTHERS.rsplit('.').next().unwrap();
        for bad in [
            String::new(),
            "..".to_owned(),
            format!("{}..", header(r#"{"alg":"none","kid":"abcdef"}"#)),
            format!("{}..{sum}", header(r#"{"alg":"HS384","kid":"abcdef"}"#)),
            format!("{}..{sum}", header("junk")),
            OTHERS.replace("..", "."),
            OTHERS.replace("..", ".eA."),
            format!("{OTHERS}."),
            OTHERS[..OTHERS.len() - 1].to_owned(),
        ] {
            assert!(!holds(&bad, b"kind: Config\n", &ours), "{bad:?} was taken");
        }
    }
}
