//! The Linux dialect against the kernel of this machine: the same commands, the same devices afterwards.
//!
//! Opt-in, because it makes network namespaces (root, `ip` of iproute2, and drivers for veth, macvlan and bridge are
//! needed): `cargo test -p ifnet-tests --test differential -- --ignored --nocapture`. The namespaces have names of their
//! own and are removed whatever happens.
//!
//! Each sequence is made step by step: the kernel runs a step, its answer and its devices are noted, and what is there
//! decides what may come next. Then the emulation runs the whole sequence. Compared are, step by step, whether the
//! command succeeded and all devices of all namespaces: name, kind, namespace, master, up or down. A sequence ends at its
//! first difference, which a rule in [`RULES`] must explain. `IFNET_DIFFERENTIAL_SEQUENCES` and `IFNET_DIFFERENTIAL_SEED`
//! choose how many and which.

use core::fmt::Write as _;
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::process::Command;

use ifnet_std::runner::{Options, Verdict, run};
use ifnet_std::scenario::Source;

/// A difference that is known, and how it is recognised: the step, what was there before, whether the kernel did it, and
/// what the emulation answered.
struct Rule {
    name: &'static str,
    why: &'static str,
    explains: fn(step: &str, before: &State, kernel: bool, ours: &str) -> bool,
}

const RULES: &[Rule] = &[Rule {
    name: "macvlan on a bridge",
    why: "a lower is an Ethernet interface here, and FreeBSD's bridge is of a type of its own",
    explains: |step, before, kernel, ours| {
        let words: Vec<_> = step.split(' ').collect();
        let [_, netns, _, _, "link", lower, ..] = words[..] else { return false };
        let bridge = |device: &Device| {
            format!("{{{}}}", device.netns) == netns && device.name == lower && device.kind == "bridge"
        };
        kernel && ours == "EINVAL" && step.contains("type macvlan") && before.iter().any(bridge)
    },
}];

/// The namespaces of this process, removed when this is dropped.
struct Namespaces(Vec<String>);

impl Namespaces {
    fn make(count: usize, tag: &str) -> Self {
        let names = (1..=count).map(|n| format!("ifnet-{}-{tag}-{n}", std::process::id()));
        let mut made = Self(Vec::new());
        for name in names {
            assert!(
                ip(&["netns", "add", &name]),
                "`ip netns add {name}` failed: root and network namespaces are needed"
            );
            made.0.push(name);
        }
        made
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.0 {
            ip(&["netns", "del", name]);
        }
    }
}

/// Runs the machine's `ip`; whether it succeeded.
fn ip(args: &[&str]) -> bool {
    Command::new("ip").args(args).output().is_ok_and(|output| output.status.success())
}

/// A device as both sides show it. Ordered by namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Device {
    netns: usize,
    name: String,
    kind: String,
    master: Option<String>,
    up: bool,
}

type State = BTreeSet<Device>;

/// What the kernel has: `ip -o -d link show`, in which a device is one line.
fn kernel_state(namespaces: &Namespaces) -> State {
    let mut state = State::new();
    for (netns, name) in namespaces.0.iter().enumerate() {
        let output = Command::new("ip").args(["-n", name, "-o", "-d", "link", "show"]).output().expect("ip");
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        state.extend(text.lines().filter_map(|line| kernel_device(netns, line)));
    }
    state
}

/// `3: veth0@if2: <BROADCAST,UP> mtu 1500 … master br0 …\    link/ether … \    veth addrgenmode …`
fn kernel_device(netns: usize, line: &str) -> Option<Device> {
    let (flags, rest) = line.split_once('<')?.1.split_once('>')?;
    let name = line.split(": ").nth(1)?.split('@').next()?;
    let kinds = ["veth", "macvlan", "bridge"];
    let after_address = rest.split("promiscuity").nth(1)?;
    let kind = after_address.split_whitespace().find(|word| kinds.contains(word))?;
    Some(Device {
        netns,
        name: name.to_owned(),
        kind: kind.to_owned(),
        master: word_after(rest, "master"),
        up: flags.split(',').any(|flag| flag == "UP"),
    })
}

/// `5: veth0: <UP,BROADCAST> mtu 1500 master br0 kind veth`
fn our_device(netns: usize, line: &str) -> Option<Device> {
    let (flags, rest) = line.split_once('<')?.1.split_once('>')?;
    let kind = word_after(rest, "kind")?;
    let name = line.split(": ").nth(1)?;
    let up = flags.split(',').any(|flag| flag == "UP");
    (kind != "lo").then(|| Device { netns, name: name.to_owned(), kind, master: word_after(rest, "master"), up })
}

fn word_after(text: &str, word: &str) -> Option<String> {
    let mut words = text.split_whitespace();
    words.find(|other| *other == word)?;
    words.next().map(str::to_owned)
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap_or_default() % n
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

const NAMES: [&str; 5] = ["w0", "w1", "w2", "w3", "w4"];
const MODES: [&str; 4] = ["private", "vepa", "bridge", "passthru"];

/// A step that makes sense for what is there, or nearly: `{0}` to `{2}` stand for the namespaces.
fn step(random: &mut Random, state: &State) -> String {
    let all: Vec<_> = state.iter().collect();
    let ns = |random: &mut Random| format!("{{{}}}", random.below(3));
    // Mostly a device that is there, sometimes one that need not be.
    let (netns, device) = match all.is_empty() || random.below(8) == 0 {
        true => (ns(random), (*random.of(&NAMES)).to_owned()),
        false => {
            let device = random.of(&all);
            (format!("{{{}}}", device.netns), device.name.clone())
        }
    };
    let name = *random.of(&NAMES);
    match random.below(14) {
        0 | 1 => {
            let peer = *random.of(&NAMES);
            format!("-n {} link add name {name} type veth peer name {peer} netns {}", ns(random), ns(random))
        }
        2..=4 => {
            let mode = *random.of(&MODES);
            format!("-n {netns} link add link {device} name {name} netns {} type macvlan mode {mode}", ns(random))
        }
        5 => format!("-n {} link add name {name} type bridge", ns(random)),
        6 | 7 => format!("-n {netns} link del dev {device}"),
        8 | 9 => format!("-n {netns} link set dev {device} netns {}", ns(random)),
        10 => format!("-n {netns} link set dev {device} {}", random.of(&["up", "up", "down"])),
        11 => format!("-n {netns} link set dev {device} name {name}"),
        12 => format!("-n {netns} link set dev {device} nomaster"),
        _ => {
            let bridges: Vec<_> = all.iter().filter(|other| other.kind == "bridge").collect();
            let here = bridges.iter().find(|bridge| format!("{{{}}}", bridge.netns) == netns);
            let master = here.map_or(name, |bridge| &bridge.name);
            format!("-n {netns} link set dev {device} master {master}")
        }
    }
}

/// A step that was run, with what came of it.
struct Done {
    text: String,
    fine: bool,
    state: State,
}

/// Lets the kernel run a sequence.
fn kernel_runs(random: &mut Random, tag: &str, steps: usize) -> Vec<Done> {
    let namespaces = Namespaces::make(3, tag);
    let mut state = State::new();
    let mut all = Vec::new();
    for _ in 0..steps {
        let text = step(random, &state);
        let real = named(&text, |n| namespaces.0[n].clone());
        let fine = ip(&real.split(' ').collect::<Vec<_>>());
        state = kernel_state(&namespaces);
        all.push(Done { text, fine, state: state.clone() });
    }
    all
}

fn named(text: &str, name: impl Fn(usize) -> String) -> String {
    (0..3).fold(text.to_owned(), |text, n| text.replace(&format!("{{{n}}}"), &name(n)))
}

fn our_name(n: usize) -> String {
    format!("ns{n}")
}

/// Lets the emulation run it: the answer and the state after each step.
fn emulation_runs(sequence: &[Done]) -> Vec<(String, State)> {
    let mut script: String = (0..3).map(|n| format!("ip netns add {}\n", our_name(n))).collect();
    for done in sequence {
        let text = named(&done.text, our_name);
        let _ = writeln!(script, "echo :step\nerrno ip {text}\nsettle");
        for n in 0..3 {
            let _ = writeln!(script, "echo :{n}\nip -n {} link show", our_name(n));
        }
    }
    let report = run(&Source::new("differential", script.as_str()), &Options::default());
    assert_eq!(report.verdict, Verdict::Passed, "{}\n{script}", report.verdict);
    let mut all: Vec<(String, State)> = Vec::new();
    let mut netns = None;
    for line in &report.lines {
        match (line.strip_prefix(':').map(str::parse::<usize>), all.last_mut(), netns) {
            (Some(Ok(n)), ..) => netns = Some(n),
            (Some(Err(_)), ..) => {
                all.push((String::new(), State::new()));
                netns = None;
            }
            (None, Some((answer, _)), None) => answer.clone_from(line),
            (None, Some((_, state)), Some(n)) => state.extend(our_device(n, line)),
            (None, None, _) => {}
        }
    }
    all
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

// Ignored: `cargo test` must pass without root and on any system. `.ci/95-differential` runs it.
#[test]
#[ignore = "makes network namespaces: needs root and Linux"]
fn the_kernel_of_this_machine_agrees() {
    let sequences = number("IFNET_DIFFERENTIAL_SEQUENCES", 200);
    let seed = number("IFNET_DIFFERENTIAL_SEED", 1);
    let mut explained: BTreeMap<&str, usize> = BTreeMap::new();
    let mut unexplained = Vec::new();
    let (mut steps, mut succeeded) = (0, 0);
    for n in 0..sequences {
        let mut random = Random((seed * 1_000_003 + n) | 1 << 40);
        let sequence = kernel_runs(&mut random, &n.to_string(), 16);
        let ours = emulation_runs(&sequence);
        assert_eq!(ours.len(), sequence.len());
        for (at, (kernel, (answer, state))) in sequence.iter().zip(&ours).enumerate() {
            if kernel.fine == (answer == "0") && kernel.state == *state {
                steps += 1;
                succeeded += usize::from(kernel.fine);
                continue;
            }
            let nothing = State::new();
            let before = at.checked_sub(1).map_or(&nothing, |at| &sequence[at].state);
            let rule = RULES.iter().find(|rule| (rule.explains)(&kernel.text, before, kernel.fine, answer));
            match rule {
                Some(rule) => *explained.entry(rule.name).or_default() += 1,
                None => unexplained.push(told(n, &sequence[..=at], answer, state)),
            }
            break;
        }
    }
    let differences = explained.values().sum::<usize>() + unexplained.len();
    println!("{sequences} sequences, {steps} equal steps ({succeeded} of them succeeded), {differences} differences");
    for rule in RULES {
        println!("  {}: {} ({})", rule.name, explained.get(rule.name).unwrap_or(&0), rule.why);
    }
    unexplained.truncate(10);
    assert!(unexplained.is_empty(), "not explained by a rule:\n{}", unexplained.join("\n"));
}

/// A difference in full.
fn told(n: u64, sequence: &[Done], answer: &str, ours: &State) -> String {
    let mut text = format!("sequence {n}:\n");
    for done in sequence {
        let _ = writeln!(text, "  ip {}  # {}", named(&done.text, our_name), if done.fine { "ok" } else { "fails" });
    }
    let kernel = &sequence[sequence.len() - 1].state;
    let _ = writeln!(text, "  ours: {answer}");
    for device in kernel.difference(ours) {
        let _ = writeln!(text, "  kernel only: {device:?}");
    }
    for device in ours.difference(kernel) {
        let _ = writeln!(text, "  ours only:   {device:?}");
    }
    text
}

#[test]
fn both_ways_to_show_a_device_are_read_alike() {
    let kernel = r"3: w0@if2: <BROADCAST,MULTICAST,UP> mtu 1500 qdisc noop master br0 state DOWN mode DEFAULT group default qlen 1000\    link/ether 86:05:c3:4e:2c:2c brd ff:ff:ff:ff:ff:ff link-netns x promiscuity 1  allmulti 1 minmtu 68 maxmtu 65535 \    veth \    bridge_slave state disabled";
    let ours = "5: w0: <UP,BROADCAST,MULTICAST> mtu 1500 master br0 kind veth";
    assert_eq!(kernel_device(1, kernel), our_device(1, ours));
    assert!(kernel_device(1, kernel).is_some_and(|device| device.up && device.master.as_deref() == Some("br0")));
    assert_eq!(our_device(0, "1: lo0: <LOOPBACK> mtu 16384 kind lo"), None);
}
