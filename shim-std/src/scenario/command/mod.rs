//! What a command does, once its words have their values.
//!
//! [`decode`] turns arguments into a typed [`Cmd`], or says which argument is wrong. Syntax is judged here: the number of
//! arguments, numbers, addresses, keywords. Whether an interface of that name exists, or may be called so, is the emulated
//! kernel's business, and its errno is the scenario's to expect.

use core::net::IpAddr;

mod args;
pub mod ifconfig;
pub mod ip;
pub mod jail;
pub mod kpi;
pub mod shell;
pub mod wire;

pub use args::{Arg, Words};
pub use ifconfig::Ifconfig;
pub use ip::Ip;
pub use jail::JailCreate;
pub use kpi::{Kpi, KpiCall};
pub use shell::{Seq, Show, Test};
pub use wire::Devctl;

use args::Args;

use super::diag::{Diagnostic, quote};

/// Why a command cannot be decoded: a diagnostic that points at the argument.
pub type CmdError = Diagnostic;

/// One command of the language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cmd {
    /// `ifconfig …`
    Ifconfig(Ifconfig),
    /// `jail -c …`
    JailCreate(JailCreate),
    /// `jail -r J`, `jail -R J`
    JailRemove {
        /// The jail's name.
        jail: String,
        /// `-R`: only its name goes at once; its vnet is destroyed by who does the deferred work, as when the last
        /// process of a jail ends.
        later: bool,
    },
    /// `jls`: prints the names of the jails.
    Jls,
    /// `jexec J cmd…`: runs a command in a jail's vnet.
    Jexec {
        /// The jail's name.
        jail: String,
        /// The command; never empty.
        rest: Vec<Arg>,
    },
    /// `devctl attach em0`, `devctl detach em0`
    Devctl(Devctl),
    /// `kldload if_epair`: makes a kind of interface known.
    Kldload {
        /// The module.
        module: String,
    },
    /// `kldunload if_epair`: takes it away, with every interface of the kind.
    Kldunload {
        /// The module.
        module: String,
    },
    /// `tcpdump -i IF`: a bpf listener.
    Tcpdump {
        /// The interface listened on.
        interface: String,
    },
    /// `ping -I IF [ADDR]`: one packet out of an interface.
    Ping {
        /// The interface.
        interface: String,
        /// Whom it is for; everybody, if nobody is named.
        to: Option<IpAddr>,
    },
    /// `kpi FUNC ARGS`: a driver-side function.
    Kpi(Kpi),
    /// `show v1`, `show if_index`, `show monitor NS`
    Show(Show),
    /// `order 'A' 'B' …`: each event was seen exactly once, and in this order.
    Order(Vec<String>),
    /// `settle`: waits until everything that was queued or deferred is done.
    Settle,
    /// `sequence TEXT`: prints `## TEXT`.
    Sequence(String),
    /// `step TEXT`: prints `  - TEXT`.
    Step(String),
    /// `result TEXT`: prints `    => TEXT`.
    Result(String),
    /// `errno CMD…`: prints `0` or the name of the command's error, and succeeds.
    Errno {
        /// The command; never empty.
        rest: Vec<Arg>,
    },
    /// `echo TEXT`
    Echo(String),
    /// `sleep N`: a scheduling point.
    Sleep(core::time::Duration),
    /// `seq N`, `seq A B`: prints the numbers, one a line.
    Seq(Seq),
    /// `[ A = B ]`, `test A = B`
    Test(Test),
    /// `true`, `:`
    True,
    /// `false`
    False,
    /// `sh -c 'stmts'`; parse the text with [`parse_sh`](super::parse_sh).
    ShC(Arg),
    /// `ip …`: the Linux dialect.
    Ip(Ip),
}

impl Cmd {
    /// The command that this one runs, if it is a prefix of another: `jexec J cmd…`, `errno cmd…`, `jail -c command=cmd…`,
    /// `ip netns exec NS cmd…`.
    #[must_use]
    pub fn into_inner(self) -> Option<Vec<Arg>> {
        match self {
            Self::Jexec { rest, .. } | Self::Errno { rest } | Self::Ip(Ip::NetnsExec { rest, .. }) => Some(rest),
            Self::JailCreate(JailCreate { command, .. }) => command,
            _ => None,
        }
    }
}

/// Every command's name.
pub const COMMANDS: &[&str] = &[
    "ifconfig",
    "jail",
    "jls",
    "jexec",
    "devctl",
    "tcpdump",
    "ping",
    "kpi",
    "show",
    "order",
    "settle",
    "sequence",
    "step",
    "result",
    "errno",
    "echo",
    "sleep",
    "seq",
    "test",
    "[",
    "true",
    "false",
    ":",
    "sh",
    "ip",
    "ping6",
    "kldload",
    "kldunload",
];

/// Decodes a command.
///
/// # Errors
///
/// An unknown command, and whatever is wrong with the arguments; see the [module](self).
pub fn decode(argv: &[Arg]) -> Result<Cmd, CmdError> {
    let mut args = Args::new(argv)?;
    let name = args.name();
    let cmd = match name.text.as_str() {
        "ifconfig" => Cmd::Ifconfig(ifconfig::decode(&mut args)?),
        "jail" => jail::decode(&mut args)?,
        "jls" => Cmd::Jls,
        "jexec" => Cmd::Jexec { jail: args.text("a jail")?, rest: args.command()? },
        "devctl" => Cmd::Devctl(wire::devctl(&mut args)?),
        "kldload" => Cmd::Kldload { module: args.text("a module")? },
        "kldunload" => Cmd::Kldunload { module: args.text("a module")? },
        "tcpdump" => wire::tcpdump(&mut args)?,
        "ping" | "ping6" => wire::ping(&mut args)?,
        "kpi" => Cmd::Kpi(kpi::decode(&mut args)?),
        "ip" => Cmd::Ip(ip::decode(&mut args)?),
        "errno" => Cmd::Errno { rest: args.command()? },
        "sh" => shell::sh(&mut args)?,
        "show" => Cmd::Show(shell::show(&mut args)?),
        "order" => Cmd::Order(args.command()?.into_iter().map(|arg| arg.text).collect()),
        "settle" => Cmd::Settle,
        "sequence" => Cmd::Sequence(args.line()),
        "step" => Cmd::Step(args.line()),
        "result" => Cmd::Result(args.line()),
        "echo" => Cmd::Echo(args.line()),
        "sleep" => Cmd::Sleep(shell::sleep(&mut args)?),
        "seq" => Cmd::Seq(shell::seq(&mut args)?),
        "[" | "test" => Cmd::Test(shell::test(&mut args)?),
        "true" | ":" => {
            args.line();
            Cmd::True
        }
        "false" => {
            args.line();
            Cmd::False
        }
        _ => {
            known(name)?;
            unreachable!("a known command is decoded above");
        }
    };
    args.end()?;
    Ok(cmd)
}

/// Looks only at the name, for commands whose arguments are not known yet.
///
/// # Errors
///
/// An unknown command.
pub fn known(name: &Arg) -> Result<(), CmdError> {
    if COMMANDS.contains(&name.text.as_str()) {
        return Ok(());
    }
    let error = Diagnostic::new(name.span, format!("unknown command {}", quote(&name.text)));
    if ifnet::Errno::ALL.iter().any(|errno| errno.name() == name.text) {
        return Err(error.help(format!("for an expected error, write `!{} cmd` without a blank", name.text)));
    }
    Err(error.suggest_only(&name.text, COMMANDS))
}
