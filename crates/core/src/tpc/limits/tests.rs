use proptest::prelude::*;

use super::*;

fn name(text: &str) -> TpcName {
    TpcName::parse(text).unwrap()
}

fn limits(cpu: &str, memory: &str, disk: &str) -> Limits {
    Limits { cpu: cpu.parse().unwrap(), memory: memory.parse().ok(), disk: disk.parse().ok() }
}

const MACHINE: Machine = Machine { processors: 4, memory: 8 << 30, disk: 32 << 30 };

#[test]
fn a_share_of_the_processors_is_a_percentage_of_the_whole_machine() {
    for (text, tenths, shown) in [
        ("20%", 200, "20%"),
        ("20", 200, "20%"),
        ("12.5%", 125, "12.5%"),
        ("100%", 1000, "100%"),
        ("1%", 10, "1%"),
    ] {
        let cpu: Cpu = text.parse().unwrap();
        assert_eq!((cpu.tenths(), cpu.to_string().as_str()), (tenths, shown));
    }
    for bad in ["", "%", "0", "0.9%", "101%", "-1", "+5", "5%%", "1.25%", "1e1", "4294967297%", "half", "5 %"]
    {
        assert!(bad.parse::<Cpu>().is_err(), "{bad:?} was taken");
    }
    assert_eq!("20%".parse::<Cpu>().unwrap().nano_cpus(4), 800_000_000);
}

#[test]
fn amounts_of_bytes_have_units_of_1024() {
    for (text, bytes, shown) in [
        ("256M", 256 << 20, "256M"),
        ("1G", 1 << 30, "1G"),
        ("1GiB", 1 << 30, "1G"),
        ("65536k", 64 << 20, "64M"),
        ("8388608", 8 << 20, "8M"),
        ("1gb", 1 << 30, "1G"),
        ("8388609", (8 << 20) + 1, "8388609"),
    ] {
        let memory: Memory = text.parse().unwrap();
        assert_eq!((memory.bytes(), memory.to_string().as_str()), (bytes, shown), "{text}");
    }
    for bad in ["", "M", "5M", "-1G", "+1G", "1.5G", "1X", "99999999999999T", "1 G", "ä", "1äM", "M1"] {
        assert!(bad.parse::<Memory>().is_err(), "{bad:?} was taken");
    }
    assert!("1023k".parse::<Disk>().is_err());
}

#[test]
fn what_does_not_fit_is_refused_with_the_sums() {
    let others = [(name("a"), limits("50%", "3G", "")), (name("b"), limits("20%", "", "10G"))];
    let ask = |asked: Limits| admit(&MACHINE, &Cap::default(), &others, &name("c"), &asked);
    assert_eq!(ask(limits("10%", "1G", "5G")), Ok(()));
    assert_eq!(
        ask(limits("20%", "", "")).unwrap_err().to_string(),
        "c asks for 20% of the processors, but 70% of at most 80% are reserved (a 50%, b 20%): ask for less with \
         --cpu, or give less to another with: tpcm resources"
    );
    let memory = ask(limits("1%", "2G", "")).unwrap_err().to_string();
    assert!(memory.contains("2G of memory, but 3G of at most") && memory.contains("(a 3G)"), "{memory}");
    let disk = ask(limits("1%", "", "7G")).unwrap_err().to_string();
    assert!(disk.contains("7G of disk, but 10G of at most") && disk.contains("(b 10G)"), "{disk}");
}

#[test]
fn ones_own_former_limits_do_not_stand_in_ones_way() {
    let others = [(name("a"), limits("80%", "4000M", ""))];
    assert_eq!(admit(&MACHINE, &Cap::default(), &others, &name("a"), &limits("70%", "4000M", "")), Ok(()));
}

#[test]
fn after_the_cap_was_lowered_those_start_that_run_or_were_installed_first() {
    let reserved = |text: &str, since: &str, runs| Reservation {
        name: name(text),
        limits: limits("40%", "", ""),
        since: since.to_owned(),
        runs,
    };
    let cap = Cap { cpu: "50%".parse().unwrap(), ..Cap::default() };
    let starts = |all: &[Reservation], own: usize| admit_start(&MACHINE, &cap, all, &all[own]);
    let boot = [reserved("b", "2026-01-01 00:00:00", false), reserved("a", "2026-01-02 00:00:00", false)];
    assert_eq!(starts(&boot, 0), Ok(()), "whoever came first");
    let refused = starts(&boot, 1).unwrap_err().to_string();
    assert!(refused.contains("40% of at most 50% are reserved (b 40%)"), "{refused}");
    let later = [boot[0].clone(), Reservation { runs: true, ..boot[1].clone() }];
    assert!(starts(&later, 0).is_err(), "nothing is taken from one that runs");
    assert_eq!(starts(&later[1..], 0), Ok(()), "one's own does not stand in one's way");
    let alone = Reservation { limits: limits("60%", "", ""), ..boot[0].clone() };
    assert!(admit_start(&MACHINE, &cap, &[], &alone).is_err());
}

#[test]
fn what_is_not_asked_for_stays() {
    let now = limits("20%", "256M", "1G");
    let asked = Asked { memory: Some("512M".parse().unwrap()), ..Asked::default() };
    assert_eq!(asked.over(now), limits("20%", "512M", "1G"));
    assert!(Asked::default().is_nothing() && !asked.is_nothing());
}

proptest! {
    #[test]
    fn those_who_were_let_in_fit_together(asked in prop::collection::vec((10_u32..=1000, 6_u64..9000), 1..12)) {
        let mut inside = Vec::new();
        for (number, (cpu, memory)) in asked.into_iter().enumerate() {
            let limits = Limits { cpu: Cpu(cpu), memory: Some(Memory(memory << 20)), disk: None };
            let name = name(&format!("t{number}"));
            if admit(&MACHINE, &Cap::default(), &inside, &name, &limits).is_ok() {
                inside.push((name, limits));
            }
        }
        let cpu: u32 = inside.iter().map(|(_, limits)| limits.cpu.0).sum();
        let memory: u64 = inside.iter().filter_map(|(_, limits)| limits.memory).map(Memory::bytes).sum();
        prop_assert!(cpu <= 800 && memory <= 4 << 30);
    }

    #[test]
    fn an_amount_is_read_back_as_it_was_written(tenths in 10_u32..=1000, bytes in (6_u64 << 20)..(1 << 50)) {
        prop_assert_eq!(Cpu(tenths).to_string().parse(), Ok(Cpu(tenths)));
        prop_assert_eq!(Memory(bytes).to_string().parse(), Ok(Memory(bytes)));
    }
}
