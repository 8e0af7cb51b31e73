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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_boot_is_told_from_the_kernels_command_line() {
        for (cmdline, expected) in [
            ("", BootType::Cold),
            ("root=/dev/sda3 quiet", BootType::Cold),
            ("SONIC_BOOT_TYPE=", BootType::Cold),
            ("SONIC_BOOT_TYPE=cold", BootType::Cold),
            ("a SONIC_BOOT_TYPE=warm b", BootType::Warm),
            ("SONIC_BOOT_TYPE=fast-reboot\n", BootType::Fast),
            ("SONIC_BOOT_TYPE=fast", BootType::Fast),
            ("SONIC_BOOT_TYPE=fastfast", BootType::FastFast),
            ("SONIC_BOOT_TYPE=express", BootType::Express),
            ("quiet fast-reboot", BootType::Fast),
            // The kernel takes the last of an option given twice.
            ("SONIC_BOOT_TYPE=warm SONIC_BOOT_TYPE=cold", BootType::Cold),
            ("XSONIC_BOOT_TYPE=warm", BootType::Cold),
        ] {
            assert_eq!(boot_type(cmdline), expected, "{cmdline:?}");
        }
    }
}
