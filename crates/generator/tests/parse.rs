//! Descriptions that are refused, each with a message that names the key and the line; and texts of every kind, none
//! of which may make the reader panic.

#![expect(clippy::expect_used, reason = "a test may stop at the first surprise")]

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use switchyard_generator::{Description, render};

/// What is said about a description that is right except for `lines`, which begin on line 3.
fn refused(lines: &str) -> String {
    let text = format!("name = \"probe\"\nimage = \"docker-probe\"\n{lines}\n");
    Description::parse(&text).expect_err(&text).to_string()
}

fn check(lines: &str, wanted: &str) {
    let said = refused(lines);
    assert!(said.contains(wanted), "{lines:?}: {said:?} does not say {wanted:?}");
    assert!(!said.contains('\n'), "{said:?} is more than one line");
}

#[test]
fn a_key_that_does_not_exist_is_named_with_its_line() {
    check("imgae = \"x\"", "line 3: unknown field `imgae`");
    check("\n[container]\nprivileged = true", "line 5: unknown field `privileged`");
    check("[dependencies]\nrequire = []", "line 4: unknown field `require`");
    check("[hooks]\npre = []", "line 4: unknown field `pre`");
    check("[network]\nx = 1", "line 3: unknown field `network`");
}

#[test]
fn a_value_of_the_wrong_kind_is_named_with_its_line() {
    check("delayed = \"yes\"", "line 3: ");
    check("stop_timeout_seconds = -1", "line 3: ");
    check("stop_timeout_seconds = 0", "line 3: stop_timeout_seconds = \"0\": 1 to 3600 seconds");
    check("state = \"Enabled\"", "line 3: ");
    check("name = \"again\"", "line 3: ");
    check("user = ", "line 3: ");
    check("description = 'x\\'", "line 3: description = ");
}

#[test]
fn names_that_would_become_paths_options_or_second_words_are_refused() {
    for name in ["", "../x", "a b", "-v", "a/b", "x;y", "${DEV}", "database", &"x".repeat(300)] {
        let said =
            Description::parse(&format!("image = \"i\"\nname = {name:?}")).expect_err(name).to_string();
        assert!(said.starts_with("line 2: name = "), "{said}");
    }
    check("user = \"root x\"", "line 3: user = ");
    check("scope = [\"host\", \"dpu\"]", "line 3: scope = \"dpu\"");
    check("scope = []", "scope = []");
    check("[dependencies]\nafter = [\"swss\", \"a b\"]", "line 4: dependencies.after = \"a b\"");
    check("[dependencies]\nafter = [\n\"swss\",\n\"%i\"]", "line 6: dependencies.after = \"%i\"");
    check("[dependencies]\nbefore = [\"probe\"]", "cannot depend on itself");
    check("[container]\nnetwork = \"-x\"", "line 4: container.network = ");
}

#[test]
fn what_the_script_and_systemd_rely_on_cannot_be_taken_from_them() {
    check(
        "[container]\narguments = [\"--name=x\"]",
        "line 4: container.arguments = \"--name=x\": not allowed",
    );
    check("[container]\narguments = [\"-t\", \"--restart\", \"always\"]", "systemd decides about restarts");
    check("[container]\narguments = [\"probe\"]", "the first argument must be an option");
    check(
        "[container.environment]\nRUNTIME_OWNER = \"kube\"",
        "line 4: container.environment = \"RUNTIME_OWNER\"",
    );
    check("[container.environment]\n\"A B\" = \"x\"", "line 4: container.environment = \"A B\"");
    check("[container]\nvolumes = [\"/a\"]", "SOURCE:/TARGET");
    check("[container]\nvolumes = [\"/a:/b:ro:x\"]", "SOURCE:/TARGET");
    check("[container]\ncommand = [\"a\\nb\"]", "line 4: container.command = \"a\\nb\": one line");
}

#[test]
fn an_image_is_named_or_left_to_kubernetes_never_both_or_neither() {
    let said = |text| Description::parse(text).expect_err(text).to_string();
    assert!(said("name = \"probe\"").contains("image is missing"));
    assert!(said("name = \"probe\"\nimage = \"x\"\nkube_only = true").contains("leave the image out"));
    assert!(said("name = \"probe\"\nowner = \"local\"\nkube_only = true").contains("no local image"));
    assert!(said("name = \"probe\"\nimage = \"-x\"").starts_with("line 2: image = "));
    assert!(said("image = \"x\"").contains("missing field `name`"));
    assert!(said("name = \"p1\"\nimage = \"x\"\nscope = [\"asic\"]").contains("must not end in a digit"));
}

#[test]
fn a_description_is_a_page_and_not_a_book() {
    let said = Description::parse(&"#\n".repeat(64 * 1024)).expect_err("128 KiB").to_string();
    assert_eq!(said, "the description has 131072 bytes, at most 65536 are read");
}

#[test]
fn the_row_of_a_kube_only_feature_says_that_there_is_no_way_back() {
    let row = Description::parse("name = \"x\"\nkube_only = true").unwrap().feature_row();
    assert_eq!((row["set_owner"], row["no_fallback_to_local"]), ("kube", "true"));
}

/// Text that is nearly a description: right keys, right and wrong values, in any order.
fn nearly() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "name",
        "image",
        "scope",
        "user",
        "kube_only",
        "delayed",
        "state",
        "owner",
        "auto_restart",
        "description",
        "stop_timeout_seconds",
        "[container]",
        "arguments",
        "volumes",
        "environment",
        "network",
        "[dependencies]",
        "requires",
        "after",
        "wanted_by",
        "[hooks]",
        "pre_start",
        "x",
    ]);
    let value = prop_oneof![
        Just("true".to_owned()),
        Just("[\"host\", \"asic\"]".to_owned()),
        Just("\"local\"".to_owned()),
        "\"[ -~]{0,12}\"",
        "[0-9-]{1,12}",
        "'[^']{0,8}'",
        r"\[(\x22[a-z@.:/-]{0,6}\x22, ?){0,3}\]",
        r"\{[ a-zA-Z]{0,4}=\x22x\x22\}",
    ];
    let line =
        (key, value).prop_map(
            |(key, value)| {
                if key.starts_with('[') { key.to_owned() } else { format!("{key} = {value}") }
            },
        );
    prop::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n"))
}

/// Texts worth keeping, as `corpus/` has them: the first line says whether each is taken, and if not what for.
#[test]
fn each_text_of_the_corpus_is_taken_or_refused_as_it_says() {
    let (mut read, mut wrong) = (0, Vec::new());
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus")).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let verdict = text.lines().next().and_then(|line| line.split_once("# ")).unwrap().1;
        let said = match Description::parse(&text) {
            Ok(description) if render(&description).len() >= 4 => "taken".to_owned(),
            Ok(_) => "files are missing".to_owned(),
            Err(error) => format!("refused: {error}"),
        };
        let is_plain = !said.contains(char::is_control) && said.len() < 1000;
        if !said.starts_with(verdict) || !is_plain {
            wrong.push(format!("{}: {said:?}", path.display()));
        }
        read += 1;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(read >= 20, "only {read} texts were found");
}

/// A failing input is kept beside this file; the usual place exists only for tests inside `src`.
fn corpus() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("proptest-regressions"))),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(corpus())]

    #[test]
    fn no_text_makes_the_reader_panic(text in r"(?s).{0,200}") {
        let _ = Description::parse(&text);
    }

    #[test]
    fn nearly_right_text_is_rendered_or_refused_in_one_line(text in nearly()) {
        match Description::parse(&text) {
            Ok(description) => prop_assert!(render(&description).len() >= 4),
            Err(error) => prop_assert!(!error.to_string().contains('\n'), "{}", error),
        }
    }

    #[test]
    fn no_value_adds_a_line_to_a_unit(
        summary in "[^\\x00-\\x1f\\x7f\\x80-\\x9f\"\\\\]{0,30}",
        value in "[ -~&&[^']]{0,30}",
    ) {
        let plain = "name = \"x\"\nimage = \"i\"\ndescription = \"y\"\n[container]\ncommand = ['z']\n";
        let text = plain.replace("\"y\"", &format!("\"{summary}\"")).replace("'z'", &format!("'{value}'"));
        let unit = |text: &str| {
            let files = render(&Description::parse(text).unwrap());
            files.into_iter().find(|file| file.path.ends_with(".service")).unwrap().content
        };
        prop_assert_eq!(unit(&text).lines().count(), unit(plain).lines().count());
    }
}
