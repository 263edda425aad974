//! The runner from the outside: what scripts print, and how they end.

use super::*;
use crate::host::threads::KernelPanic;
use ifnet::hazard::Hazard;

fn run_text(text: &str) -> Report {
    run(&Source::new("t", text), &Options::default())
}

/// What a script prints that must pass.
fn prints(text: &str) -> Vec<String> {
    let report = run_text(text);
    assert_eq!(report.verdict, Verdict::Passed, "{text}: {}", report.verdict);
    report.lines
}

/// The message of a script that must not pass, and its exit status.
fn fails(text: &str) -> (String, u8) {
    let verdict = run_text(text).verdict;
    (verdict.to_string(), verdict.exit_status())
}

#[test]
fn statements_of_sh() {
    assert_eq!(prints("x=a; ( x=b ); echo $x; { x=c; }; echo $x"), ["a", "c"]);
    assert_eq!(prints("for i in $(seq 2 4) 'a b'; do echo $i; done"), ["2", "3", "4", "a b"]);
    assert_eq!(prints("if ifconfig x0 up; then echo up; else echo none; fi"), ["none"]);
    assert_eq!(prints("false && echo no; true && echo yes"), ["yes"]);
    assert_eq!(prints("x=$(false) || true; echo \"<$x$(echo a; false)>\""), ["<a>"]);
    assert_eq!(prints("!ENXIO x=$(ifconfig x0 up); sh -c 'echo in; true'"), ["in"]);
    assert_eq!(prints("errno ifconfig x0 up; errno true; errno false"), ["ENXIO", "0", "1"]);
    assert_eq!(prints("x=1; ( x=2; echo $x ) & wait; echo $x"), ["2", "1"]);
}

#[test]
fn a_command_that_runs_out_of_memory_works_when_it_is_back() {
    // Each allocation of it, one after the other, then all of them.
    let each = "for n in $(seq 40); do nomem $n 0 ifconfig disc0 create; ifconfig disc0 destroy; done;";
    assert_eq!(prints(&format!("{each} nomem 1 1 ifconfig disc0 create; ifconfig -l")).last().unwrap(), "lo0 disc0");
    assert_eq!(prints("!ENXIO nomem 1 1 ifconfig x0 up; nomem 7 0 true"), [""; 0]);
    // It says something else than that there is no memory.
    let swallows = "ifconfig disc0 create || true; [ \"$(ifconfig -l)\" = \"lo0 disc0\" ]";
    let (text, status) = fails(&format!("nomem 1 0 sh -c '{swallows}'"));
    assert!(text.contains("a failure without a number for lack of memory, in place of ENOMEM"), "{text}");
    assert_eq!(status, 3);
}

#[test]
fn expectations_point_into_the_line() {
    assert_eq!(fails("true\n!ENXIO ifconfig lo0 destroy"), ("t:2:1: expected ENXIO, got EINVAL".into(), 1));
    assert_eq!(fails("! true"), ("t:1:1: expected a failure, got success".into(), 1));
    assert_eq!(fails("!EBUSY true"), ("t:1:1: expected EBUSY, got success".into(), 1));
    assert_eq!(fails("x=$(ifconfig x0 destroy)"), ("t:1:5: expected success, got ENXIO".into(), 1));
    assert_eq!(fails("[ a = b ]"), ("t:1:1: expected `b`, got `a`".into(), 1));
    assert_eq!(fails("sh -c 'true; ifconfig x0 up'"), ("sh -c:1:7: expected success, got ENXIO".into(), 1));
    assert_eq!(fails("x=sh; ( ! true ) & ( ! true ) & wait").1, 1);
}

#[test]
fn what_cannot_be_run_says_so() {
    assert_eq!(fails("ifconfig lo0 bogus 1").1, 2);
    assert_eq!(fails("x=bogus; ifconfig lo0 $x").1, 2);
    assert_eq!(fails("( x=1 ); echo $x"), ("t:1:15: the variable `x` is not set".into(), 2));
}

#[test]
fn a_panic_of_the_kernel() {
    let script = "kpi if_alloc tst0\nkpi if_detach tst0";
    let report = run_text(script);
    let text = "tst0: interface is not on the active list";
    assert!(matches!(&report.verdict, Verdict::Panic(KernelPanic { message, .. }) if message == text));
    assert_eq!(report.verdict.exit_status(), 3);
    assert!(prints(&format!("expect panic \"{text}\"\n{script}")).is_empty());
    assert_eq!(fails("expect panic \"boo\"\ntrue"), ("t:1:1: expected the kernel panic `boo`, got none".into(), 1));
}

#[test]
fn a_dead_lock_ends_the_run() {
    let options = Options { patience: Some(core::time::Duration::from_millis(200)), ..Options::default() };
    let report = run(&Source::new("t", "( sleep 1; kpi epoch_wait ) &\nnet_epoch { wait; }"), &options);
    assert!(matches!(&report.verdict, Verdict::Deadlock(sleepers) if sleepers.len() == 2), "{}", report.verdict);
    assert_eq!(report.verdict.exit_status(), 3);
}

#[test]
fn an_open_hazard_is_seen() {
    let options = Options { hazards: Hazard::LladdrAfterDetach.set(), ..Options::default() };
    let script =
        "kpi if_alloc t0; kpi ether_ifattach t0; kpi ether_ifdetach t0; kpi epoch_drain_callbacks; kpi lladdr t0";
    let report = run(&Source::new("t", script), &options);
    assert_eq!(report.verdict.exit_status(), 3, "{}", report.verdict);
    let closed = run_text(&script.replace("kpi lladdr", "! kpi lladdr"));
    assert_eq!(closed.verdict, Verdict::Passed, "{}", closed.verdict);
}

#[test]
fn leftovers_are_taken_down_silently() {
    let script = "
        jail -c name=a vnet persist; jexec a jail -c name=b vnet persist
        devctl attach em0; ifconfig em0 vnet a; jexec a ifconfig em0 vnet b
        jexec b ifconfig epair create; jexec a ifconfig disc create
        kpi if_alloc x; kpi if_attach x; kpi if_ref x; kpi if_alloc y; kpi ether_ifattach y
        jexec b tcpdump -i em0; kldunload if_disc";
    let report = run(&Source::new("t", script), &Options { trace: true, ..Options::default() });
    assert_eq!(report.verdict, Verdict::Passed, "{}", report.verdict);
    let last = report.lines.last().expect("a trace");
    assert!(!last.contains("DETACH"), "{last}");
}

#[test]
fn ifconfig_shows_what_it_set() {
    let shown = prints(
        "devctl attach em0\nifconfig em0 ether 02:00:00:00:00:07 mtu 1400 group red inet 192.0.2.1/24 inet6 2001:db8::1/64\n\
         ifconfig em0; ifconfig em0 inet -alias; ifconfig em0 inet6 2001:db8::1 delete down; ifconfig em0",
    );
    let expected = [
        "em0: flags=8803<UP,BROADCAST,SIMPLEX,MULTICAST> metric 0 mtu 1400",
        "\tether 02:00:00:00:00:07",
        "\tinet 192.0.2.1/24",
        "\tinet6 2001:db8::1 prefixlen 64",
        "\tgroups: red",
        "em0: flags=8802<BROADCAST,SIMPLEX,MULTICAST> metric 0 mtu 1400",
        "\tether 02:00:00:00:00:07",
        "\tgroups: red",
    ];
    assert_eq!(shown, expected);
}

#[test]
fn jails_see_their_children_only() {
    let script = "
        jail -c name=a vnet persist; jail -c name=b vnet persist; jexec a jail -c name=c vnet persist
        !EEXIST jail -c name=a vnet persist
        !ENOENT jexec a jexec b true; jexec a jexec c true; jexec c true
        !ENXIO jexec a ifconfig lo0 vnet b
        jail -r a; !ENOENT jail -r c; jls";
    assert_eq!(prints(script), ["b"]);
    // Without `persist` the jail ends with its command, and what it borrowed returns.
    assert_eq!(
        prints("devctl attach em0; jail -c name=j vnet vnet.interface=em0 command=ifconfig -l; jls; ifconfig -l"),
        ["lo0 em0", "lo0 em0"]
    );
    assert_eq!(prints("!ENXIO jail -c name=j vnet persist vnet.interface=no0; jls"), [""; 0]);
}

#[test]
fn handles_are_the_drivers_pointers() {
    let script = "
        kpi if_alloc a x7; !EEXIST kpi if_alloc a; kpi dname a; kpi dunit a; kpi home a; kpi if_attach a; kpi home x7
        !EINVAL kpi if_rele a; kpi if_ref a; kpi refcount a; kpi if_detach a; kpi if_free a; kpi refcount a; kpi if_rele a
        !ENXIO kpi if_free a; !ENXIO kpi index nobody
        devctl attach em0; !EEXIST devctl attach em0; devctl detach em0; !ENXIO devctl detach em0
        kldunload if_epair; !ENOENT kldunload if_epair; !EINVAL ifconfig epair create; kldload if_epair; ifconfig epair create
        !ENOENT kldload if_nothing";
    assert_eq!(prints(script), ["x", "7", "nil", "v0", "2", "1", "epair0a"]);
}

#[test]
fn the_sink_gets_each_line_at_once() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let options =
        Options { sink: Some(Arc::new(move |line| sink.lock().unwrap().push(line.to_owned()))), ..Options::default() };
    let report = run(&Source::new("t", "echo a; echo b"), &options);
    assert_eq!(*seen.lock().unwrap(), report.lines);
    assert_eq!(report.lines, ["a", "b"]);
}

#[test]
fn what_a_vnet_sends_home_late_is_no_leak() {
    // The removal is deferred work, which may come after everything else was taken down.
    let text = "jail -c name=j1 vnet persist; ifconfig disc0 create\n( ifconfig disc0 vnet j1; jail -R j1 ) &";
    let source = Source::new("t", text);
    let program = program(&source, &crate::scenario::parse(&source).unwrap(), &Boot::default());
    let explorer = crate::explore::Explorer { schedules: 300, ..Default::default() };
    let report = explorer.run(&program, &crate::explore::progress::Silent);
    assert!(report.failure.is_none(), "{:?}", report.failure);
}

#[test]
fn lo0_is_no_leak_under_another_name() {
    assert_eq!(prints("ifconfig lo0 name x"), [""; 0]);
}
