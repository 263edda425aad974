//! The language as a whole: constructs, messages, round trips, FreeBSD's own tests, seed 2, and hostile text.

use core::time::Duration;

use ifnet::Errno;

use super::command::KpiCall;
use super::command::ifconfig::{Action, Ifconfig};
use super::command::ip::{Ip, Ipvl, Link, LinkAdd, LinkKind, LinkSet};
use super::*;

fn good(text: &str) -> Script {
    parse(&Source::new("t", text)).unwrap_or_else(|e| panic!("{}", e.render(false)))
}

fn bad(text: &str) -> String {
    parse(&Source::new("t", text)).expect_err(text).to_string()
}

/// The command of a scenario of one line.
fn cmd(text: &str) -> Cmd {
    match &good(text).stmts[0].kind {
        StmtKind::Command { words, .. } => {
            decode(&words.iter().map(|w| Arg::literal(w).unwrap()).collect::<Vec<_>>()).unwrap()
        }
        other => panic!("{other:?}"),
    }
}

/// The `sh` bodies of FreeBSD's tests, as scenarios.
const FREEBSD: &[&str] = &[
    "# if_clone_test.sh epair_destroy_race
for i in $(seq 10); do
    epair_a=$(ifconfig epair create)
    epair_b=${epair_a%a}b
    jail -c vnet name=j$i vnet.interface=$epair_b command=sh -c \"ifconfig $epair_b 192.0.2.1/24; sleep 0.1\" || true &
    ifconfig $epair_a destroy || true
    wait
done",
    "# pf names.sh names
epair=$(ifconfig epair create)
jail -c name=alcatraz vnet persist vnet.interface=${epair%a}b
ifconfig $epair name foo
jexec alcatraz ifconfig ${epair%a}b name foo
jail -r alcatraz
ifconfig foo destroy",
    "# pf set_skip.sh set_skip_dynamic
jail -c name=alcatraz vnet persist
epair=$(ifconfig epair create)
ifconfig $epair 192.0.2.2/24 up
ifconfig ${epair%a}b vnet alcatraz
jexec alcatraz ifconfig ${epair%a}b 192.0.2.1/24 up
[ \"$(jexec alcatraz ifconfig -g epair)\" = \"${epair%a}b\" ]
ping -c 1 -I $epair 192.0.2.1",
    "# if_tun_test.sh 235704
jail -c name=one vnet persist
tun=$(jexec one ifconfig tun create)
jexec one ifconfig $tun name foo
jexec one ifconfig foo destroy",
    "# if_bridge_test.sh delete_with_members
bridge=$(ifconfig bridge create)
epair=$(ifconfig epair create)
ifconfig $bridge 192.0.2.1/24 up addm $epair
ifconfig $bridge inet 192.0.2.2/24 alias
ifconfig $bridge destroy
ifconfig $epair",
];

#[test]
fn freebsd_bodies_parse_and_survive_printing() {
    for text in FREEBSD {
        round_trip(text);
    }
    assert!(good(FREEBSD[0]).is_concurrent());
    assert!(!good(FREEBSD[1]).is_concurrent());
}

fn round_trip(text: &str) -> String {
    let script = good(text);
    let printed = script.to_string();
    let again = parse(&Source::new("printed", printed.as_str())).unwrap_or_else(|e| panic!("{}", e.render(false)));
    assert_eq!(script, again, "{printed}");
    assert_eq!(printed, again.to_string());
    printed
}

#[test]
fn seed_2_verbatim() {
    let seed = "# ip netns add ns1
# ip netns add ns2
# ip netns add ns3
# ip -n ns1 link add veth0 type veth peer veth1
# ip -n ns2 link add ipvl2 link veth0 link-netns ns1 type ipvlan mode l2
# ip -n ns3 link add ipvl3 link veth0 link-netns ns1 type ipvlan mode l2
# ip -n ns1 link del veth0";
    // The `# ` of the message is root's prompt.
    let text = seed.lines().map(|line| line.strip_prefix("# ").unwrap()).collect::<Vec<_>>();
    round_trip(&text.join("\n"));
    assert_eq!(cmd(text[0]), Cmd::Ip(Ip::NetnsAdd("ns1".into())));
    let add = |name: &str, lower: Option<(&str, &str)>, kind| {
        Link::Add(LinkAdd {
            name: Some(name.into()),
            lower: lower.map(|(dev, _)| dev.into()),
            lower_netns: lower.map(|(_, ns)| ns.into()),
            netns: None,
            mtu: None,
            address: None,
            index: None,
            group: None,
            up: false,
            kind,
        })
    };
    let veth = LinkKind::Veth { peer: Some("veth1".into()), peer_netns: None };
    assert_eq!(cmd(text[3]), Cmd::Ip(Ip::Link { netns: Some("ns1".into()), call: add("veth0", None, veth) }));
    let ipvlan =
        add("ipvl2", Some(("veth0", "ns1")), LinkKind::Ipvlan(Ipvl { mode: Some("l2".into()), ..Ipvl::default() }));
    assert_eq!(cmd(text[4]), Cmd::Ip(Ip::Link { netns: Some("ns2".into()), call: ipvlan }));
    assert_eq!(cmd(text[6]), Cmd::Ip(Ip::Link { netns: Some("ns1".into()), call: Link::Del("veth0".into()) }));
}

#[test]
fn the_rest_of_the_linux_dialect() {
    let link = |call| Cmd::Ip(Ip::Link { netns: None, call });
    assert_eq!(cmd("ip link del group 9"), link(Link::DelGroup(9)));
    let set = Link::Set { name: "a".into(), changes: vec![LinkSet::Group(9), LinkSet::Name("b%d".into())] };
    assert_eq!(cmd("ip link set a group 9 name b%d"), link(set));
    for (verb, del) in [("add", false), ("del", true)] {
        let altnames = vec!["b".to_owned(), "c".to_owned()];
        let property = Link::Property { name: "a".into(), del, altnames };
        assert_eq!(cmd(&format!("ip link property {verb} dev a altname b altname c")), link(property));
        let addr = |address: &str, prefix| Ip::Addr {
            netns: Some("ns1".into()),
            del,
            address: address.parse().unwrap(),
            prefix,
            dev: "a".into(),
        };
        assert_eq!(cmd(&format!("ip -n ns1 addr {verb} 10.0.0.1 dev a")), Cmd::Ip(addr("10.0.0.1", None)));
        assert_eq!(cmd(&format!("ip -n ns1 addr {verb} fe80::1/64 a")), Cmd::Ip(addr("fe80::1", Some(64))));
    }
}

#[test]
fn canonical_text() {
    let text = "x=$(ifconfig epair create);(ifconfig $x up&&ifconfig ${x%a}b up||true)&
!ENXIO ifconfig no destroy;! false;net_epoch { kpi ifunit \"a b\" }
if [ \"$x\" != '' ]; then { wait; }; else (echo it\"'\"s '$x' a}b '}'); fi
for i in $(seq 2) '' z; do for j in 1 2; do echo \"<$i>\"$j$(echo $( (echo a) & echo b)); done; done
'for' 'x=1' !x; y='' ; expect panic 'a: b'";
    let expected = "x=$(ifconfig epair create)
(
    ifconfig $x up && ifconfig ${x%a}b up || true
) &
!ENXIO ifconfig no destroy
! false
net_epoch {
    kpi ifunit 'a b'
}
";
    let text = text.replace("'for' 'x=1' !x", "echo 'x=1' !x");
    let printed = round_trip(&text);
    assert!(printed.starts_with(expected), "{printed}");
}

#[test]
fn expectations() {
    let expect = |text: &str| match good(text).stmts.remove(0).kind {
        StmtKind::Command { expect, .. } | StmtKind::Assign { expect, .. } => expect,
        other => panic!("{other:?}"),
    };
    assert_eq!(expect("ifconfig a up"), Expect::Success);
    assert_eq!(expect("! ifconfig a up"), Expect::Failure(None));
    assert_eq!(expect("!EBUSY ifconfig a up"), Expect::Failure(Some(Errno::EBUSY)));
    assert_eq!(expect("x=$(ifconfig a up) || :"), Expect::Any);
    assert_eq!(good("expect panic 'x: y'\ntrue").expected_panic(), Some("x: y"));
}

#[test]
fn commands_are_typed() {
    let Cmd::Ifconfig(Ifconfig::Create { name, vlan, actions }) =
        cmd("ifconfig vlan create vlandev e0 vlan 7 up name x")
    else {
        panic!()
    };
    assert_eq!((name.as_str(), vlan.unwrap().tag), ("vlan", 7));
    assert_eq!(actions, [Action::Up, Action::Name("x".into())]);
    let Cmd::Ifconfig(Ifconfig::Act { actions, .. }) = cmd(
        "ifconfig a 192.0.2.1 192.0.2.2 netmask 0xffffff00 inet6 2001:db8::1 prefixlen 64 -alias ether 2:0:0:0:0:a",
    ) else {
        panic!()
    };
    let [Action::Address(v4), Action::Address(v6), Action::Ether(mac)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((v4.prefix, v4.peer), (Some(24), Some([192, 0, 2, 2].into())));
    assert_eq!((v6.prefix, v6.op), (Some(64), command::ifconfig::AddressOp::Remove));
    assert_eq!(mac, &[2, 0, 0, 0, 0, 10]);
    let Cmd::JailCreate(jail) = cmd("jail -c name=j vnet=new path=/ vnet.interface=a,b command=ifconfig lo0 up") else {
        panic!()
    };
    assert_eq!((jail.interfaces.len(), jail.command.unwrap().len(), jail.persist), (2, 3, false));
    let kpi = |no_vnet, call| Cmd::Kpi(command::Kpi { no_vnet, call });
    let change = KpiCall::IfLinkStateChange { handle: "t".into(), up: true };
    assert_eq!(cmd("kpi -n if_link_state_change t up"), kpi(true, change));
    assert_eq!(cmd("kpi ifnet_byindexgen 3 1"), kpi(false, KpiCall::IfnetByindexgen { index: 3, generation: 1 }));
    assert_eq!(cmd("sleep 0.1"), Cmd::Sleep(Duration::from_millis(100)));
    assert_eq!(cmd("step  attach   tst0"), Cmd::Step("attach tst0".into()));
    assert_eq!(cmd("tcpdump -n -i e0"), Cmd::Tcpdump { interface: "e0".into() });
    assert_eq!(cmd("show v12"), Cmd::Show(command::Show::Vnet(12)));
}

#[test]
fn slips_are_reported_where_they_are() {
    for (text, expected) in [
        ("ifconifg lo0 up", "t:1:1: unknown command `ifconifg`; did you mean `ifconfig`?"),
        ("x=$(seq 1)\nifconifg $x", "t:2:1: unknown command `ifconifg`; did you mean `ifconfig`?"),
        ("\n( ifconfig a upp ) &", "t:2:14: unknown action of `ifconfig` `upp`; did you mean `up`?"),
        ("jexec j errno kpi if_atach x", "t:1:19: unknown function `if_atach`; did you mean `if_attach`?"),
        ("nomem 1 2 kpi if_atach x", "t:1:15: unknown function `if_atach`; did you mean `if_attach`?"),
        ("nomem 0 2 true", "t:1:7: `0` is not an allocation: a number from 1 to 4294967295"),
        ("nomem 1 true", "t:1:9: `true` is not a distance: a number from 0 to 4294967295"),
        ("sh -c 'true; ifconfig a mtu x'", "t:1:29: `x` is not an mtu: a number from 0 to 4294967295"),
        ("jail -c name=j vnet command='wait; nix x'", "t:1:21: unknown command `nix`"),
        ("epair=a; echo $(echo ${epiar%a}b)", "t:1:22: the variable `epiar` is never set; did you mean `epair`?"),
        ("!ENXOI true", "t:1:1: unknown error name `ENXOI`; did you mean `ENXIO`?"),
        ("jail -c name=j persist", "t:1:1: a jail without a vnet of its own is not emulated"),
        ("jail -c name=j vnet", "t:1:1: the jail has neither a command nor `persist`"),
        ("jls x", "t:1:5: unexpected argument `x`"),
        ("ifconfig a inet 1.2.3.4/33", "t:1:17: `33` is not a prefix length: a number from 0 to 32"),
        ("ifconfig a inet 1.2.3.4 netmask 255.0.255.0", "t:1:33: `255.0.255.0` is not a netmask"),
        ("ifconfig a vlan 5", "t:1:12: a vlan needs both a tag and a parent"),
        ("[ a = b", "t:1:1: `[` is not closed"),
        ("ip link add x type vteh", "t:1:20: unknown type `vteh`; did you mean `veth`?"),
        ("ip link add x index 0 type dummy", "t:1:21: `0` is not an index: a number from 1 to 2147483647"),
        ("ip link del group x", "t:1:19: `x` is not a group: a number from 0 to 4294967295"),
        ("ip link property add dev x", "t:1:26: `ip link property` needs a property"),
        ("ip link property add x altnam y", "t:1:24: unknown property `altnam`; did you mean `altname`?"),
        ("ip addr add 10.0.0.1/33 dev x", "t:1:13: `10.0.0.1/33` is not an address"),
        ("ip addr ad 10.0.0.1 dev x", "t:1:9: unknown verb of `ip addr` `ad`; did you mean `add`?"),
        ("sleep -1", "t:1:7: `-1` is not a number of seconds up to a day"),
    ] {
        assert_eq!(bad(text), expected);
    }
    assert_eq!(bad("jlss\njalil -r x").lines().count(), 2);
}

#[test]
fn every_command_is_decoded_or_refused() {
    for &name in command::COMMANDS {
        for rest in [&[][..], &["x"], &["-c", "x"], &["a", "b", "c", "d"]] {
            let argv: Vec<Arg> = core::iter::once(&name).chain(rest).map(|&s| Arg::new(s, Span::default())).collect();
            if let Err(error) = decode(&argv) {
                assert!(!error.message.starts_with("unknown command"), "{name}");
            }
        }
    }
    assert!(decode(&[]).is_err());
    let errno = bad("! ENXIO ifconfig a destroy");
    assert_eq!(errno, "t:1:3: unknown command `ENXIO`");
}

#[test]
fn syntax_errors() {
    for (text, expected) in [
        ("( true", "t:1:1: `(` is not closed"),
        ("true )", "t:1:6: unexpected `)`; end of line, `;`, `&`, `&&` or `||` expected"),
        ("echo 'x", "t:1:6: this quote is not closed"),
        ("echo \"x $(true\"", "t:1:15: this quote is not closed"),
        ("echo $(true", "t:1:6: `$(` is not closed"),
        ("echo ${x%[ab]}", "t:1:10: patterns are not part of the scenario language"),
        ("for x in 1 2; done", "t:1:15: unexpected `done`; `do` expected"),
        ("for x in 1; do true", "t:1:1: this `for` has no `done`"),
        ("if true; then true", "t:1:1: this `if` has no `fi`"),
        ("true | true", "t:1:6: pipes are not part of the scenario language"),
        ("true >/dev/null", "t:1:6: redirections are not part of the scenario language"),
        ("true || false", "t:1:6: only `|| true` can follow a command"),
        ("! true || true", "t:1:8: `!` and `|| true` contradict each other"),
        ("( true ) || true", "t:1:10: `|| true` can only follow a command"),
        ("! ( true )", "t:1:1: `!` can only stand before a command"),
        ("while true; do true; done", "t:1:1: `while` is not part of the scenario language"),
        ("x=1 true", "t:1:5: unexpected `true`; end of line or `;` expected"),
        ("( expect panic x ) &", "t:1:3: `expect panic` can only stand at top level"),
        ("true &&", "t:1:8: the scenario ends here; a command expected"),
        ("f() { true; }", "t:1:2: unexpected `(`; end of line, `;`, `&`, `&&` or `||` expected"),
        ("echo $1", "t:1:6: `$1` is not part of the scenario language"),
        ("}", "t:1:1: unexpected `}`; a command expected"),
    ] {
        assert_eq!(bad(text), expected, "{text}");
    }
}

#[test]
fn lines_may_be_continued_and_end_in_cr() {
    assert_eq!(good("ifconfig a \\\n  up\r\nwait # note\r\n").stmts.len(), 2);
    assert_eq!(good("# only a note").stmts.len(), 0);
}

#[test]
fn depth_is_bounded() {
    let nest = |n: usize, open: &str, close: &str| format!("{}true{}", open.repeat(n), close.repeat(n));
    for (open, close) in [("( ", " )"), ("{ ", "; }"), ("echo $(", ")"), ("net_epoch { ", " }"), ("if ", "")] {
        assert!(bad(&nest(10_000, open, close)).ends_with("nested more than 64 levels deep"), "{open}");
    }
    good(&nest(64, "( ", " )"));
    good(&nest(64, "echo $(", ")"));
    assert!(bad(&nest(10_000, "(", "")).ends_with("nested more than 64 levels deep"));
    good("true && ".repeat(10_000).trim_end_matches("&& "));
    assert!(bad(&format!("{}true", "errno ".repeat(10_000))).ends_with("a command has at most 1024 words"));
    assert!(parse_sh("true", MAX_DEPTH).is_err());
    assert!(parse_sh("true", 3).is_ok());
}

/// xorshift64*: enough to throw dirt.
struct Dirt(u64);

impl Dirt {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(high).unwrap_or_default() % n
    }
}

/// Whatever the bytes, there is a script that survives printing, or there are messages that can be drawn.
fn survives(bytes: &[u8]) -> bool {
    match Source::from_bytes("t", bytes).and_then(|source| parse(&source)) {
        Ok(script) => {
            let printed = script.to_string();
            let again = parse(&Source::new("printed", printed.as_str()));
            assert!(again.as_ref() == Ok(&script), "{bytes:?}\n{printed}{again:?}");
            true
        }
        Err(errors) => {
            assert!(!errors.items().is_empty() && !errors.render(false).is_empty());
            false
        }
    }
}

#[test]
fn hostile_text_is_an_error_and_nothing_worse() {
    let mut dirt = Dirt(0x1f_2e_3d);
    let pieces: Vec<&str> =
        "( ) { } & && || ; ! = # ' \" $ $( ${ } % \\ \n for in do done if then else fi x x= $x wait true \
        net_epoch expect panic [ ] echo ifconfig lo0 é \u{1b} '' '}' \"$(true)\" ENXIO"
            .split(' ')
            .chain([" ", " ", " "])
            .collect();
    let mut parsed = 0;
    for _ in 0..20_000 {
        let text: String = (0..dirt.below(24)).map(|_| pieces[dirt.below(pieces.len())]).collect();
        parsed += usize::from(survives(text.as_bytes()));
    }
    for _ in 0..5_000 {
        let mut bytes = FREEBSD[dirt.below(FREEBSD.len())].as_bytes().to_vec();
        for _ in 0..=dirt.below(4) {
            let at = dirt.below(bytes.len());
            match dirt.below(3) {
                0 => bytes[at] = u8::try_from(dirt.below(256)).unwrap_or_default(),
                1 if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => bytes.truncate(at.max(1)),
            }
        }
        parsed += usize::from(survives(&bytes));
    }
    assert!(parsed > 100, "only {parsed} texts parsed: the dirt is too coarse to test anything");
}

#[test]
fn large_text_takes_no_quadratic_time() {
    let started = std::time::Instant::now();
    for line in ["ifconfig lo0 up\n", "x=1; echo $x\n", "nix\n", "( true ) &\n", "true && ", "a", "'", "$x", "$(", "\\"]
    {
        let text = line.repeat(Source::MAX_BYTES / line.len());
        let _ = parse(&Source::new("t", text)).map_err(|errors| errors.render(false));
    }
    let names: String = (0..40_000).map(|n| format!("x{n}=1\n")).collect();
    good(&(names + &"sh -c 'echo $x7'\n".repeat(30_000)));
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}
