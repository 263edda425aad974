//! `jail -c`, `jail -r` and `jail -R`: vnets by the name of their jail.

use super::super::diag::quote;
use super::args::{Arg, Args};
use super::{Cmd, CmdError};

/// `jail -c name=J vnet …`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JailCreate {
    /// The jail's name.
    pub name: String,
    /// The jail outlives its command.
    pub persist: bool,
    /// `vnet.interface=`: interfaces lent to the jail, in order.
    pub interfaces: Vec<String>,
    /// `command=`: run in the jail. Without `persist` the jail dies when it has ended.
    pub command: Option<Vec<Arg>>,
}

const PARAMETERS: &[&str] =
    &["name", "vnet", "persist", "vnet.interface", "command", "path", "host.hostname", "children.max"];

pub(super) fn decode(args: &mut Args<'_>) -> Result<Cmd, CmdError> {
    let verb = args.need("`-c` or `-r`")?;
    match verb.text.as_str() {
        "-c" => create(args).map(Cmd::JailCreate),
        "-r" | "-R" => {
            let jail = args.value(verb, "a jail")?.text.clone();
            Ok(Cmd::JailRemove { jail, later: verb.text == "-R" })
        }
        _ => Err(verb.unknown("option of `jail`", &["-c", "-r", "-R"])),
    }
}

fn create(args: &mut Args<'_>) -> Result<JailCreate, CmdError> {
    let (mut name, mut vnet) = (None, false);
    let mut jail = JailCreate { name: String::new(), persist: false, interfaces: Vec::new(), command: None };
    while let Some(arg) = args.next() {
        let (key, value) = match arg.text.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (arg.text.as_str(), None),
        };
        match (key, value) {
            ("name", Some(value)) if !value.is_empty() => name = Some(value.to_owned()),
            ("vnet", None | Some("new")) => vnet = true,
            ("persist", None) => jail.persist = true,
            ("vnet.interface", Some(list)) if !list.is_empty() => {
                jail.interfaces.extend(list.split(',').map(str::to_owned));
            }
            ("command", Some(first)) if !first.is_empty() => jail.command = Some(command(arg, first, args.rest())),
            ("path" | "host.hostname" | "children.max", Some(_)) => {}
            ("name" | "vnet.interface" | "command" | "path" | "host.hostname" | "children.max", _) => {
                return Err(arg.error(format!("the parameter {} needs a value: `{key}=…`", quote(key))));
            }
            ("vnet" | "persist", Some(_)) => {
                return Err(arg.error(format!("the parameter {} does not take this value", quote(key))));
            }
            _ => {
                let key = Arg::new(key, arg.span);
                return Err(key.unknown("parameter of `jail`", PARAMETERS));
            }
        }
    }
    jail.name = name.ok_or_else(|| args.error("the jail needs a name").help("add `name=J`"))?;
    if !vnet {
        let error = args.error("a jail without a vnet of its own is not emulated");
        return Err(error.help("add `vnet`"));
    }
    if !jail.persist && jail.command.is_none() {
        let error = args.error("the jail has neither a command nor `persist`");
        return Err(error.help("add `persist`, or `command=…` at the end of the line"));
    }
    Ok(jail)
}

/// `command=` takes the rest of the line. As in `jail(8)`, one value with blanks in it is a line for the shell.
fn command(arg: &Arg, first: &str, rest: &[Arg]) -> Vec<Arg> {
    let skipped = arg.text.len() - first.len();
    let first = Arg { verbatim: arg.verbatim.map(|at| at + skipped), ..Arg::new(first, arg.span) };
    if rest.is_empty() && first.text.contains(char::is_whitespace) {
        return vec![Arg::new("sh", arg.span), Arg::new("-c", arg.span), first];
    }
    core::iter::once(first).chain(rest.iter().cloned()).collect()
}
