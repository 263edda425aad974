//! The Linux dialect: seed 2 and the measured scenarios of stacked devices over namespaces, on threads and in every
//! schedule that the explorer tries. What must hold of the order is stated in the scenarios themselves (`order`,
//! `show monitor`), and so is checked in each schedule.

use std::collections::BTreeSet;

use ifnet_std::explore::progress::Silent;
use ifnet_std::explore::{Explorer, StrategyName};
use ifnet_std::runner::{Boot, Options, Verdict, program, run};
use ifnet_std::scenario::{Source, parse};
use ifnet_tests::{read, scenarios};

/// How often each runs on threads.
const ROUNDS: usize = 3;
/// Schedules for each scenario.
const SCHEDULES: u64 = if cfg!(debug_assertions) { 200 } else { 3_000 };

#[test]
fn all_pass_on_threads() {
    let mut failed = Vec::new();
    let all = scenarios("linux");
    for source in &all {
        for round in 1..=ROUNDS {
            let report = run(source, &Options { trace: true, ..Options::default() });
            if report.verdict != Verdict::Passed {
                failed.push(format!(
                    "{} (round {round}): {}\n{}",
                    source.name,
                    report.verdict,
                    report.lines.join("\n")
                ));
                break;
            }
        }
    }
    assert!(failed.is_empty(), "{} of {} failed\n\n{}", failed.len(), all.len(), failed.join("\n\n"));
    println!("linux: {} scenarios, {ROUNDS} times each", all.len());
}

/// The table of cases in the README names the scenarios that there are, all of them, and each measured case once or with
/// a reason for its absence.
#[test]
fn the_table_of_cases_names_every_scenario() {
    let readme = read("scenarios/linux/README.md");
    let named: BTreeSet<_> =
        readme.split('`').filter(|word| word.ends_with(".ifn")).map(|word| format!("linux/{word}")).collect();
    let there: BTreeSet<_> = scenarios("linux").into_iter().map(|source| source.name).collect();
    assert_eq!(named, there);
    let rows = readme.split("Where the results differ").next().unwrap_or_default();
    let cells = rows.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    let cases: BTreeSet<_> = cells.flat_map(|cell| cell.split(", ")).flat_map(cases_of).collect();
    let numbered = |letter: &str, last: usize| (1..=last).map(|n| format!("{letter}{n}")).collect::<Vec<_>>();
    let mut measured = [("V", 18), ("S", 6), ("M", 5), ("X", 7), ("C", 3), ("P", 7), ("T", 17)]
        .iter()
        .flat_map(|&(letter, last)| numbered(letter, last))
        .collect::<Vec<_>>();
    measured.extend(["S1b", "S1c", "S1d", "X1b", "X3b", "L1", "F", "G", "H1"].map(String::from));
    let missing: Vec<_> = measured.iter().filter(|case| !cases.contains(*case)).collect();
    assert!(missing.is_empty(), "no row for {missing:?}");
}

/// `P1–P3` stands for three.
fn cases_of(cell: &str) -> Vec<String> {
    let range = cell.split_once('–').and_then(|(from, to)| {
        let letter = from.get(..1)?;
        let [from, to] = [from, to].map(|case| case.strip_prefix(letter)?.parse::<usize>().ok());
        Some((from?..=to?).map(|n| format!("{letter}{n}")).collect())
    });
    range.unwrap_or_else(|| vec![cell.to_owned()])
}

fn explore(source: &Source, schedules: u64) -> Option<String> {
    let script = parse(source).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    let program = program(source, &script, &Boot::default());
    let strategies = vec![StrategyName::Pct, StrategyName::Dfs];
    let explorer = Explorer { schedules, strategies, shrink_budget: 200, ..Explorer::default() };
    let failure = explorer.run(&program, &Silent).failure?;
    Some(format!("{}: {}: {}", source.name, failure.kind, failure.message))
}

#[test]
fn all_pass_in_every_schedule() {
    let all = scenarios("linux");
    let failed: Vec<_> = all.iter().filter_map(|source| explore(source, SCHEDULES)).collect();
    assert!(failed.is_empty(), "{} of {} failed\n{}", failed.len(), all.len(), failed.join("\n"));
    println!("linux: {} scenarios, {SCHEDULES} schedules each", all.len());
}

/// An oracle that cannot fail proves nothing: turned round, each order of seed 2 is refused.
#[test]
fn the_orders_of_seed_2_can_be_broken() {
    let seed = read("scenarios/linux/seed2.ifn");
    let orders: Vec<_> = seed.lines().filter(|line| line.starts_with("order ")).collect();
    assert!(orders.len() >= 4);
    for order in orders {
        let events: Vec<_> = order["order ".len()..].split("' '").map(|event| event.trim_matches('\'')).collect();
        let turned: Vec<_> = events.iter().rev().map(|event| format!("'{event}'")).collect();
        let text = seed.replace(order, &format!("order {}", turned.join(" ")));
        let failure = explore(&Source::new("turned", text), 20).expect("the turned order does not hold");
        assert!(failure.contains("came before"), "{failure}");
    }
}

/// The setup and the deletion are those of the message, word for word.
#[test]
fn seed_2_is_verbatim() {
    let seed = read("scenarios/linux/seed2.ifn");
    let message = [
        "ip netns add ns1",
        "ip netns add ns2",
        "ip netns add ns3",
        "ip -n ns1 link add veth0 type veth peer veth1",
        "ip -n ns2 link add ipvl2 link veth0 link-netns ns1 type ipvlan mode l2",
        "ip -n ns3 link add ipvl3 link veth0 link-netns ns1 type ipvlan mode l2",
        "ip -n ns1 link del veth0",
    ];
    let mut lines = seed.lines();
    for line in message {
        assert!(lines.any(|other| other == line), "{line}");
    }
}

/// The trace has the form of the message's: thread, device, call path.
#[test]
fn the_trace_of_seed_2_has_the_form_of_the_message() {
    let text = read("scenarios/linux/seed2.ifn");
    let report = run(&Source::new("seed2", text), &Options { trace: true, ..Options::default() });
    assert_eq!(report.verdict, Verdict::Passed, "{}\n{}", report.verdict, report.lines.join("\n"));
    let starts = report.lines.iter().enumerate().filter(|(_, line)| line.starts_with("PID: "));
    let calls: Vec<_> = starts
        .map(|(at, line)| {
            let path =
                report.lines[at + 1..].iter().take_while(|line| line.starts_with("    ") && !line.contains(" . "));
            (
                line.split("DEV: ").nth(1).unwrap_or_default().to_owned(),
                path.map(|line| line.trim().to_owned()).collect::<Vec<_>>(),
            )
        })
        .collect();
    let of = |dev: &str, function: &str| -> Vec<String> {
        let found: Option<&(String, Vec<String>)> = calls.iter().find(|(d, path)| d == dev && path[0] == function);
        found.unwrap_or_else(|| panic!("no {function} of {dev}: {}", report.lines.join("\n"))).1.clone()
    };
    assert_eq!(of("veth0", "veth_dellink"), ["veth_dellink", "ip -n ns1 link del veth0"]);
    for upper in ["ipvl2", "ipvl3"] {
        let path = of(upper, "ipvlan_uninit");
        assert_eq!(path[..2], ["ipvlan_uninit", "unregister_many"]);
        // Whoever waits for veth0 may help the worker.
        assert!(["vnet worker", "ip -n ns1 link del veth0"].contains(&path[2].as_str()), "{path:?}");
        assert_eq!(of(upper, "free_netdev")[1], "netdev_run_todo");
    }
    assert_eq!(of("veth0", "free_netdev")[..2], ["free_netdev", "netdev_run_todo"]);
}
