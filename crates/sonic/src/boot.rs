//! How the running kernel was started (SONIC.md 11.4). What follows from it is decided elsewhere.

use std::fmt;

/// The kind of boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootType {
    /// Everything from scratch.
    Cold,
    /// Forwarding went on.
    Warm,
    /// Forwarding was interrupted for a short time.
    Fast,
    /// As warm, on platforms that do it faster.
    Express,
    /// Mellanox's way of warm boot.
    FastFast,
}

impl fmt::Display for BootType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cold => "cold",
            Self::Warm => "warm",
            Self::Fast => "fast",
            Self::Express => "express",
            Self::FastFast => "fastfast",
        })
    }
}

/// The kind of boot, from the kernel's command line.
///
/// The scripts write `warm`, `fast`, `fast-reboot`, `fastfast` or `express`, older ones a bare `fast-reboot`.
pub fn boot_type(cmdline: &str) -> BootType {
    let word = cmdline.split_ascii_whitespace().rev().find_map(|word| {
        word.strip_prefix("SONIC_BOOT_TYPE=").or_else(|| (word == "fast-reboot").then_some(word))
    });
    match word {
        Some(word) if word.starts_with("warm") => BootType::Warm,
        Some(word) if word.starts_with("express") => BootType::Express,
        Some(word) if word.starts_with("fastfast") => BootType::FastFast,
        Some(word) if word.starts_with("fast") => BootType::Fast,
        Some(_) | None => BootType::Cold,
    }
}
