//! What stands at an interface's outer end: hardware that comes and goes, listeners, packets.

use core::net::IpAddr;

use super::super::diag::quote;
use super::args::{Arg, Args};
use super::{Cmd, CmdError};

/// A hardware driver's comings and goings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Devctl {
    /// `devctl attach em0`: `if_alloc`, `ether_ifattach`.
    Attach(String),
    /// `devctl detach em0`: `ether_ifdetach`, `if_free`.
    Detach(String),
}

pub(super) fn devctl(args: &mut Args<'_>) -> Result<Devctl, CmdError> {
    let verb = args.need("`attach` or `detach`")?;
    match verb.text.as_str() {
        "attach" => Ok(Devctl::Attach(args.value(verb, "a device")?.text.clone())),
        "detach" => Ok(Devctl::Detach(args.value(verb, "a device")?.text.clone())),
        _ => Err(verb.unknown("verb", &["attach", "detach"])),
    }
}

/// Flags that change nothing here (`-n`, `-e`, `-l`, …) are accepted, and so is a filter expression.
pub(super) fn tcpdump(args: &mut Args<'_>) -> Result<Cmd, CmdError> {
    match interface(args, "-i", &["-c", "-s", "-w"], |_| Ok(()))? {
        Some(interface) => Ok(Cmd::Tcpdump { interface }),
        None => Err(args.error("`tcpdump` needs `-i INTERFACE`")),
    }
}

/// Other options are accepted; what matters are the interface and the destination, which is an address: there is no
/// resolver here.
pub(super) fn ping(args: &mut Args<'_>) -> Result<Cmd, CmdError> {
    let mut to: Option<IpAddr> = None;
    let found = interface(args, "-I", &["-c", "-i", "-s", "-S", "-t", "-W"], |arg| {
        let address = || arg.error(format!("{} is no network address", quote(&arg.text)));
        match to.replace(arg.text.parse().map_err(|_| address())?) {
            Some(_) => Err(arg.error("`ping` has one destination")),
            None => Ok(()),
        }
    })?;
    match found {
        Some(interface) => Ok(Cmd::Ping { interface, to }),
        None => Err(args.error("`ping` needs `-I INTERFACE`: there is no routing here")),
    }
}

/// Reads all arguments and returns the value of `flag`; the options in `valued` take a value that is not used, and what
/// is no option goes to `other`.
fn interface(
    args: &mut Args<'_>,
    flag: &str,
    valued: &[&str],
    mut other: impl FnMut(&Arg) -> Result<(), CmdError>,
) -> Result<Option<String>, CmdError> {
    let mut found = None;
    while let Some(arg) = args.next() {
        if arg.text == flag {
            found = Some(args.value(arg, "an interface")?.text.clone());
        } else if valued.contains(&arg.text.as_str()) {
            args.value(arg, "a value")?;
        } else if !arg.text.starts_with('-') {
            other(arg)?;
        }
    }
    Ok(found)
}
