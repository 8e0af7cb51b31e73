//! How a value enters a file without becoming part of its language.

/// The number of the ASIC, as an author writes it in a value: `/var/lib/probe${DEV}`. Empty for the host's instance.
const DEV: &str = "${DEV}";

/// One word of POSIX shell that is exactly `text`; only [`DEV`] in it is filled in when the script runs.
pub(crate) fn shell_with_dev(text: &str) -> String {
    text.split(DEV).map(shell).collect::<Vec<_>>().join("\"$DEV\"")
}

/// One word of POSIX shell that is exactly `text`.
pub(crate) fn shell(text: &str) -> String {
    let harmless =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':' | ',' | '@' | '+');
    if !text.is_empty() && text.chars().all(harmless) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A value of a unit file, where `%` begins a specifier.
pub(crate) fn unit(text: &str) -> String {
    text.replace('%', "%%")
}

/// Puts values where the template says `@NAME@`, in one pass: what a value contains is not looked at again.
pub(crate) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find('@') {
        let (before, from) = rest.split_at(at);
        filled.push_str(before);
        let known = values.iter().find_map(|(name, value)| {
            Some((value, from.strip_prefix('@')?.strip_prefix(name)?.strip_prefix('@')?))
        });
        if let Some((value, after)) = known {
            filled.push_str(value);
            rest = after;
        } else {
            filled.push('@');
            rest = from.strip_prefix('@').unwrap_or_default();
        }
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    /// What a real shell makes of the word.
    fn said(word: &str, dev: &str) -> String {
        let script = format!("DEV={dev}; printf %s {word}");
        let output = Command::new("sh").arg("-c").arg(&script).output().unwrap();
        assert!(output.status.success(), "{script:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn the_asic_number_is_filled_in_and_nothing_else_is() {
        let text = "/a b/${DEV}/$HOME/`id`/$(id)/'${DEV}'";
        assert_eq!(said(&shell_with_dev(text), "3"), "/a b/3/$HOME/`id`/$(id)/'3'");
        assert_eq!(said(&shell_with_dev("${DEV}"), ""), "");
    }

    #[test]
    fn a_value_that_looks_like_a_placeholder_stays_what_it_is() {
        assert_eq!(fill("x=@A@ y=@B@ m@il @C@", &[("A", "@B@"), ("B", "2")]), "x=@B@ y=2 m@il @C@");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn any_text_survives_a_real_shell(text in r"[^\x00]{0,40}") {
            prop_assert_eq!(said(&shell(&text), "7"), text.clone());
            prop_assert_eq!(said(&shell_with_dev(&text), "7"), text.replace("${DEV}", "7"));
        }

        #[test]
        fn the_worst_characters_survive_a_real_shell(text in r#"['"\\$`{}DEV!*?~ ;&|<>()#\n-]{0,40}"#) {
            prop_assert_eq!(said(&shell(&text), "7"), text.clone());
            prop_assert_eq!(said(&shell_with_dev(&text), "7"), text.replace("${DEV}", "7"));
        }
    }
}
