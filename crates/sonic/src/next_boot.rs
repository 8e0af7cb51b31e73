//! Which SONiC image boots next, from what GRUB keeps on /host (SONIC.md 11.1, 11.2). Whether anything is to be saved
//! for it is the caller's matter.
//!
//! Read as sonic-installer reads it: the entries of `grub.cfg` that are SONiC images, counted from 0; `next_entry` of
//! `grubenv` counts once, `saved_entry` after that, the first entry if there is neither.

use std::path::Path;

/// What an entry of the boot menu is called, before the version.
const IMAGE: &str = "SONiC-OS-";

/// What boots next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextBoot {
    /// The image that runs now.
    Same,
    /// Another one, by its version.
    Other(String),
    /// It cannot be told: another boot loader than GRUB, or files that say nothing.
    Unknown(&'static str),
}

/// What boots next on a switch with this /host on which the image of version `running` runs.
pub fn next_boot(host: &Path, running: &str) -> NextBoot {
    let read = |name: &str| std::fs::read_to_string(host.join("grub").join(name));
    let Ok(menu) = read("grub.cfg") else {
        return NextBoot::Unknown("there is no grub/grub.cfg on /host");
    };
    // Without an environment nothing was ever chosen, and the first entry boots.
    choose(&menu, &read("grubenv").unwrap_or_default(), running)
}

fn choose(menu: &str, environment: &str, running: &str) -> NextBoot {
    let images: Vec<&str> = menu.lines().filter_map(image_of_entry).collect();
    let chosen = ["next_entry", "saved_entry"].iter().find_map(|key| {
        let value = environment.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        (!value.trim().is_empty()).then(|| value.trim())
    });
    let image = match chosen {
        None => images.first().copied(),
        Some(word) => match word.parse::<usize>() {
            Ok(number) => images.get(number).copied(),
            Err(_) => images.iter().find(|image| word.strip_prefix(IMAGE) == Some(**image)).copied(),
        },
    };
    match image {
        Some(image) if image == running => NextBoot::Same,
        Some(image) => NextBoot::Other(image.to_owned()),
        None => NextBoot::Unknown("the entry that GRUB boots next is none of a SONiC image"),
    }
}

/// `menuentry 'SONiC-OS-202511.7-abc' {`
fn image_of_entry(line: &str) -> Option<&str> {
    let title = line.strip_prefix("menuentry")?.split_whitespace().next()?;
    title.trim_matches(['\'', '"']).strip_prefix(IMAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MENU: &str = "set timeout=5\nmenuentry 'SONiC-OS-202511.7' {\n  linux /image-202511.7/boot/vmlinuz\n}\n\
        menuentry 'SONiC-OS-202505.1' {\n}\nmenuentry ONIE {\n}\n";

    #[test]
    fn the_next_image_is_the_one_that_sonic_installer_would_name() {
        for (environment, running, expected) in [
            ("", "202511.7", NextBoot::Same),
            ("", "202505.1", NextBoot::Other("202511.7".to_owned())),
            (
                "# GRUB Environment Block\nsaved_entry=1\n#####",
                "202511.7",
                NextBoot::Other("202505.1".to_owned()),
            ),
            ("saved_entry=1\nnext_entry=0\n", "202511.7", NextBoot::Same),
            ("saved_entry=0\nnext_entry=\n", "202511.7", NextBoot::Same),
            ("saved_entry=SONiC-OS-202505.1\n", "202505.1", NextBoot::Same),
        ] {
            assert_eq!(choose(MENU, environment, running), expected, "{environment:?} {running}");
        }
    }

    #[test]
    fn what_cannot_be_told_is_not_guessed() {
        for (menu, environment) in [("", ""), (MENU, "saved_entry=2\n"), (MENU, "next_entry=ONIE\n")] {
            assert!(matches!(choose(menu, environment, "202511.7"), NextBoot::Unknown(_)), "{environment:?}");
        }
        let nowhere = tempfile::tempdir().unwrap();
        assert!(matches!(next_boot(nowhere.path(), "202511.7"), NextBoot::Unknown(_)));
    }

    #[test]
    fn the_files_are_read_where_grub_has_them() {
        let host = tempfile::tempdir().unwrap();
        std::fs::create_dir(host.path().join("grub")).unwrap();
        std::fs::write(host.path().join("grub/grub.cfg"), MENU).unwrap();
        assert_eq!(next_boot(host.path(), "202511.7"), NextBoot::Same);
        std::fs::write(host.path().join("grub/grubenv"), "next_entry=1\n").unwrap();
        assert_eq!(next_boot(host.path(), "202511.7"), NextBoot::Other("202505.1".to_owned()));
    }
}
