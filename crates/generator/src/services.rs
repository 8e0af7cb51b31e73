//! The lines of `/etc/sonic/generated_services.conf`, the list from which SONiC's generator makes the instances of
//! per-ASIC units at every daemon-reload. Others' lines, their order and the file's last newline stay as they are.

/// Where SONiC keeps the list.
pub(crate) const SERVICES: &str = "/etc/sonic/generated_services.conf";

/// The list without one line for each unit of `gone` and with one for each of `wanted`.
pub(crate) fn edit(list: &str, gone: &[String], wanted: &[String]) -> String {
    let mut lines: Vec<&str> = list.lines().collect();
    for unit in gone {
        if let Some(at) = lines.iter().rposition(|line| line.trim() == unit) {
            lines.remove(at);
        }
    }
    for unit in wanted {
        if !has(list, unit) {
            lines.push(unit);
        }
    }
    let mut edited = lines.join("\n");
    if !edited.is_empty() && (list.is_empty() || list.ends_with('\n')) {
        edited.push('\n');
    }
    edited
}

/// Whether the unit is on the list.
pub(crate) fn has(list: &str, unit: &str) -> bool {
    list.lines().any(|line| line.trim() == unit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn units(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_line_is_added_once_and_whole_names_are_compared() {
        let with = edit("swss.service\n", &[], &units(&["wss.service", "swss.service"]));
        assert_eq!(with, "swss.service\nwss.service\n");
        assert_eq!(edit(&with, &units(&["wss.service"]), &[]), "swss.service\n");
    }

    proptest! {
        #[test]
        fn what_was_added_leaves_no_trace(
            lines in prop::collection::vec("[a-z@. #]{1,12}", 0..6),
            newline: bool,
            name in "[a-z]{1,8}\\.service",
        ) {
            let mut list = lines.join("\n");
            if newline && !list.is_empty() {
                list.push('\n');
            }
            prop_assume!(!has(&list, &name));
            let unit = vec![name];
            let with = edit(&list, &[], &unit);
            prop_assert!(has(&with, &unit[0]));
            prop_assert_eq!(edit(&with, &unit, &[]), list);
        }
    }
}
