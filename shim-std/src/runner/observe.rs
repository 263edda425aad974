//! What a scenario can ask about the order of things: the monitors of namespaces, and the calls of stacked drivers.
//!
//! The observer sits in the host and sees each record of the core at the moment it is made, in the order of the schedule.
//! So a scenario can state an order (`order`, `show monitor`), and the explorer checks it in every schedule, not only in
//! those that are recorded.
//!
//! A monitor derives from the events of FreeBSD what `ip monitor link` shows on Linux, in the notation of the measured
//! scenarios: `NEW x full` for an arrival, `DEL x` for a departure, `NEW x close` for an interface that was up and goes
//! down, `NEW x up`, and `NEW x chg0` for a new name. Messages that FreeBSD has no event for (changes of an upper's
//! adjacency, a bridge's ports, link states, features) are not derived.

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ifnet::platform::ThreadId;
use ifnet::trace::{IfView, Record};

/// What has been seen so far. Its lock is never held over a call into the core or a scheduling point.
#[derive(Debug, Default)]
pub struct Observer {
    seen: Mutex<Seen>,
    /// Commands are kept, for [`call_path`](Self::call_path).
    paths: AtomicBool,
}

#[derive(Debug, Default)]
struct Seen {
    monitors: Vec<Monitor>,
    /// Everything that `order` can name, oldest first.
    events: Vec<String>,
    /// The command that a thread is in; the worker has none.
    commands: BTreeMap<ThreadId, String>,
    /// Indices of the interfaces that are up.
    up: BTreeSet<u32>,
    /// Every interface that has arrived, if somebody [follows](Observer::follow).
    listed: Option<Vec<Listed>>,
}

/// An interface as the events tell of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) index: u32,
    pub(crate) name: Arc<str>,
    /// Number of the vnet whose list it is on; `None` once it has departed.
    pub(crate) vnet: Option<u32>,
}

#[derive(Debug)]
struct Monitor {
    vnet: u32,
    netns: String,
    lines: Vec<String>,
}

impl Observer {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on arrivals and departures are kept: who is where can then be seen without a lock of the core. The order of
    /// events is not: who follows has no script that could ask for it.
    pub(crate) fn follow(&self) {
        self.seen().listed.get_or_insert_default();
    }

    /// Looks at what has arrived so far, in the order of arrival; nothing, unless [followed](Self::follow).
    pub(crate) fn listed<R>(&self, look: impl FnOnce(&[Listed]) -> R) -> R {
        look(self.seen().listed.as_deref().unwrap_or_default())
    }

    /// `ip monitor`: from now on the events of this vnet are noted. A second monitor of the same namespace begins anew.
    pub(crate) fn watch(&self, vnet: u32, netns: &str) {
        let mut seen = self.seen();
        seen.monitors.retain(|monitor| monitor.netns != netns);
        seen.monitors.push(Monitor { vnet, netns: netns.to_owned(), lines: Vec::new() });
    }

    /// What the monitor of a namespace has noted; `None` without a monitor.
    pub(crate) fn monitored(&self, netns: &str) -> Option<String> {
        let seen = self.seen();
        let monitor = seen.monitors.iter().find(|monitor| monitor.netns == netns)?;
        Some(monitor.lines.join(", "))
    }

    /// From now on it is kept which command each thread is in.
    pub(crate) fn keep_paths(&self) {
        self.paths.store(true, Ordering::Relaxed);
    }

    /// The thread begins a command, or ends it.
    pub(crate) fn command(&self, thread: ThreadId, text: Option<&dyn fmt::Display>) {
        if !self.paths.load(Ordering::Relaxed) {
            return;
        }
        let mut seen = self.seen();
        match text {
            Some(text) => drop(seen.commands.insert(thread, text.to_string())),
            None => drop(seen.commands.remove(&thread)),
        }
    }

    /// Notes a record of the core. Returns what the monitors print about it.
    pub(crate) fn record(&self, record: &Record<'_>) -> Option<String> {
        let mut seen = self.seen();
        match *record {
            Record::Interface { event, ifp, .. } => seen.interface(event, ifp),
            Record::Call { function, ifp, .. } if seen.listed.is_none() => {
                seen.events.push(format!("{function} {}", ifp.name));
                None
            }
            _ => None,
        }
    }

    /// A call of a stacked driver in the form of a `bpftrace` line: the thread, the device, and the path.
    pub(crate) fn call_path(&self, thread: ThreadId, record: &Record<'_>) -> Option<Vec<String>> {
        let Record::Call { function, ifp, .. } = *record else { return None };
        let seen = self.seen();
        let mut lines = vec![format!("PID: {} | DEV: {}", thread.0, ifp.name), format!("    {function}")];
        lines.extend(callers(function).iter().map(|caller| format!("    {caller}")));
        lines.push(format!("    {}", seen.commands.get(&thread).map_or("vnet worker", String::as_str)));
        Some(lines)
    }

    /// `order A B C`: each was seen exactly once, and in this order.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn in_order(&self, wanted: &[String]) -> Result<(), String> {
        let seen = self.seen();
        let mut last: Option<(usize, &str)> = None;
        for event in wanted {
            let mut places = seen.events.iter().enumerate().filter(|(_, other)| *other == event).map(|(at, _)| at);
            let (Some(at), None) = (places.next(), places.next()) else {
                let times = seen.events.iter().filter(|other| *other == event).count();
                return Err(format!("`{event}` was seen {times} times in place of once; seen: {}", seen.all()));
            };
            if let Some((before, name)) = last
                && at < before
            {
                return Err(format!("`{event}` came before `{name}`; seen: {}", seen.all()));
            }
            last = Some((at, event));
        }
        Ok(())
    }
}

/// Who calls such a function, inside the core.
fn callers(function: &str) -> &'static [&'static str] {
    match function {
        "ipvlan_uninit" => &["unregister_many"],
        "free_netdev" => &["netdev_run_todo"],
        _ => &[],
    }
}

impl Seen {
    fn interface(&mut self, event: &str, ifp: IfView<'_>) -> Option<String> {
        if let Some(listed) = &mut self.listed {
            let mut here = listed.iter_mut().filter(|other| other.index == ifp.index && other.vnet == Some(ifp.vnet));
            match event {
                "ifnet_departure_event" => {
                    if let Some(it) = here.next() {
                        it.vnet = None;
                    }
                }
                "ifnet_arrival_event" => {
                    listed.push(Listed { index: ifp.index, name: ifp.name.into(), vnet: Some(ifp.vnet) });
                }
                _ => {}
            }
        }
        let was_up = match event {
            "ifnet_event UP" => !self.up.insert(ifp.index),
            "ifnet_event DOWN" => self.up.remove(&ifp.index),
            _ => false,
        };
        let monitor = self.monitors.iter_mut().find(|monitor| monitor.vnet == ifp.vnet)?;
        let name = ifp.name;
        let line = match event {
            "ifnet_arrival_event" if ifp.renaming => format!("NEW {name} chg0"),
            "ifnet_arrival_event" => format!("NEW {name} full"),
            "ifnet_departure_event" if !ifp.renaming => format!("DEL {name}"),
            "ifnet_event UP" if !was_up => format!("NEW {name} up"),
            // Every detach says this; it is a change only of what was up.
            "ifnet_event DOWN" if was_up => format!("NEW {name} close"),
            _ => return None,
        };
        let printed = format!("{} {line}", monitor.netns);
        monitor.lines.push(line);
        self.events.push(printed.clone());
        Some(printed)
    }

    fn all(&self) -> String {
        self.events.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(name: &str, vnet: u32) -> IfView<'_> {
        IfView { name, index: 7, vnet, home: Some(vnet), up: false, dying: false, renaming: false }
    }

    fn event(observer: &Observer, event: &str, ifp: IfView<'_>) -> Option<String> {
        observer.record(&Record::Interface { event, ifp, cur: ifp.vnet })
    }

    #[test]
    fn a_monitor_sees_its_own_vnet_and_each_change_once() {
        let observer = Observer::default();
        observer.watch(1, "red");
        assert_eq!(event(&observer, "ifnet_arrival_event", view("a", 2)), None);
        assert_eq!(event(&observer, "ifnet_arrival_event", view("a", 1)).as_deref(), Some("red NEW a full"));
        assert_eq!(event(&observer, "ifnet_event DOWN", view("a", 1)), None, "it was not up");
        event(&observer, "ifnet_event UP", view("a", 1));
        event(&observer, "ifnet_event DOWN", view("a", 1));
        event(&observer, "ifnet_departure_event", IfView { renaming: true, ..view("a", 1) });
        event(&observer, "ifnet_arrival_event", IfView { renaming: true, ..view("b", 1) });
        event(&observer, "ifnet_departure_event", view("b", 1));
        let expected = "NEW a full, NEW a up, NEW a close, NEW b chg0, DEL b";
        assert_eq!(observer.monitored("red").as_deref(), Some(expected));
        assert_eq!(observer.monitored("blue"), None);
    }

    #[test]
    fn an_order_is_of_events_that_came_once() {
        let observer = Observer::default();
        for function in ["veth_dellink", "free_netdev", "free_netdev"] {
            observer.record(&Record::Call { function, ifp: view("a", 1), cur: 1 });
            observer.record(&Record::Call { function: "ipvlan_uninit", ifp: view(function, 1), cur: 1 });
        }
        let order = |names: &[&str]| observer.in_order(&names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
        assert_eq!(order(&["veth_dellink a", "ipvlan_uninit veth_dellink"]), Ok(()));
        assert!(order(&["ipvlan_uninit veth_dellink", "veth_dellink a"]).unwrap_err().contains("came before"));
        assert!(order(&["free_netdev a"]).unwrap_err().contains("2 times"));
        assert!(order(&["free_netdev b"]).unwrap_err().contains("0 times"));
    }

    #[test]
    fn who_is_where_follows_moves_and_renames() {
        let observer = Observer::default();
        event(&observer, "ifnet_arrival_event", view("x", 1));
        assert_eq!(observer.listed(<[_]>::len), 0, "nobody follows");
        observer.follow();
        event(&observer, "ifnet_arrival_event", view("a", 1));
        event(&observer, "ifnet_departure_event", view("a", 1));
        event(&observer, "ifnet_arrival_event", view("b", 2));
        let seen = observer.listed(<[_]>::to_vec);
        let seen: Vec<_> = seen.iter().map(|it| (&*it.name, it.vnet)).collect();
        assert_eq!(seen, [("a", None), ("b", Some(2))]);
    }

    #[test]
    fn a_path_ends_in_the_command_or_the_worker() {
        let observer = Observer::default();
        let thread = ThreadId(core::num::NonZeroU32::MIN);
        let record = Record::Call { function: "ipvlan_uninit", ifp: view("ipvl2", 2), cur: 2 };
        let path = |observer: &Observer| observer.call_path(thread, &record).unwrap_or_default().join("|");
        assert_eq!(path(&observer), "PID: 1 | DEV: ipvl2|    ipvlan_uninit|    unregister_many|    vnet worker");
        observer.command(thread, Some(&"ip link del w"));
        assert!(path(&observer).ends_with("|    vnet worker"), "nobody wants to know");
        observer.keep_paths();
        observer.command(thread, Some(&"ip link del x"));
        assert!(path(&observer).ends_with("|    ip link del x"));
    }
}
