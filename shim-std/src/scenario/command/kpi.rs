//! `kpi FUNC ARGS`: the functions a driver calls, by their FreeBSD names.
//!
//! A handle is a label that `if_alloc` gives; what is no handle is looked up as an interface's name in the current vnet.

use ifnet::IfCounter;

use super::super::diag::quote;
use super::CmdError;
use super::args::{Arg, Args};

/// A driver-side call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kpi {
    /// `-n`: called while curvnet is NULL.
    pub no_vnet: bool,
    /// The function.
    pub call: KpiCall,
}

/// The counters of an interface, by the names that `netstat` has for some of them.
const COUNTERS: [(&str, IfCounter); 7] = [
    ("ipackets", IfCounter::Ipackets),
    ("ierrors", IfCounter::Ierrors),
    ("opackets", IfCounter::Opackets),
    ("oerrors", IfCounter::Oerrors),
    ("iqdrops", IfCounter::Iqdrops),
    ("oqdrops", IfCounter::Oqdrops),
    ("noproto", IfCounter::Noproto),
];

/// A label or an interface name.
pub type Handle = String;

/// What a frame is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameSpec {
    /// `[DESTINATION [SOURCE]]`: link-level addresses; the sender knows what stands for those that are missing.
    Addressed {
        /// Where it goes.
        destination: Option<[u8; 6]>,
        /// Where it comes from.
        source: Option<[u8; 6]>,
    },
    /// `0x…`: all its bytes, be they a frame or not.
    Bytes(Vec<u8>),
}

macro_rules! calls {
    ($($variant:ident { $($field:ident: $ty:ty = $read:ident),* } $name:literal $what:literal;)*) => {
        /// The functions of `kpi`.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the fields are the arguments of the FreeBSD function of that name")]
        pub enum KpiCall {
            $(#[doc = concat!("`", $name, "`: ", $what)] $variant { $($field: $ty),* },)*
        }

        /// Every function's name.
        pub const FUNCTIONS: &[&str] = &[$($name),*];

        fn call(func: &Arg, args: &mut Args<'_>) -> Result<KpiCall, CmdError> {
            match func.text.as_str() {
                $($name => Ok(KpiCall::$variant { $($field: $read(func, args)?),* }),)*
                _ => Err(func.unknown("function", FUNCTIONS)),
            }
        }
    };
}

calls! {
    IfAlloc { handle: Handle = handle, name: Option<String> = optional } "if_alloc" "makes an interface called `name`, or as the handle.";
    IfAttach { handle: Handle = handle } "if_attach" "puts it on the list of the current vnet.";
    IfDetach { handle: Handle = handle } "if_detach" "takes it off its list.";
    IfFree { handle: Handle = handle } "if_free" "gives up the driver's reference and the index.";
    IfRef { handle: Handle = handle } "if_ref" "takes a reference.";
    IfRele { handle: Handle = handle } "if_rele" "gives up a reference.";
    EtherIfattach { handle: Handle = handle, mac: Option<[u8; 6]> = optional_mac } "ether_ifattach" "attaches it as an Ethernet, with its bpf tap.";
    EtherIfdetach { handle: Handle = handle } "ether_ifdetach" "takes tap and interface away.";
    Bpfattach { handle: Handle = handle } "bpfattach" "makes the bpf tap.";
    Bpfdetach { handle: Handle = handle } "bpfdetach" "takes the bpf tap away.";
    Ifunit { name: String = name } "ifunit" "looks a name up; prints it or `NULL`.";
    IfunitRef { name: String = name } "ifunit_ref" "the same, with a reference.";
    IfnetByindex { index: u32 = number } "ifnet_byindex" "looks an index up; prints the name or `NULL`.";
    IfnetByindexRef { index: u32 = number } "ifnet_byindex_ref" "the same, with a reference.";
    IfnetByindexgen { index: u32 = number, generation: u16 = short } "ifnet_byindexgen" "the same, if the generation fits.";
    Index { handle: Handle = handle } "index" "prints `if_index`.";
    Gen { handle: Handle = handle } "gen" "prints `if_idxgen`.";
    Refcount { handle: Handle = handle } "refcount" "prints `if_refcount`.";
    Flags { handle: Handle = handle } "flags" "prints `if_flags`.";
    Vnet { handle: Handle = handle } "vnet" "prints `if_vnet`.";
    Home { handle: Handle = handle } "home" "prints `if_home_vnet`.";
    Dname { handle: Handle = handle } "dname" "prints `if_dname`.";
    Dunit { handle: Handle = handle } "dunit" "prints `if_dunit`.";
    IfAddgroup { handle: Handle = handle, group: String = group } "if_addgroup" "joins a group.";
    IfDelgroup { handle: Handle = handle, group: String = group } "if_delgroup" "leaves a group.";
    IfLinkStateChange { handle: Handle = handle, up: bool = up_down } "if_link_state_change" "reports the carrier.";
    IfRename { handle: Handle = handle, new: String = name } "if_rename" "renames it.";
    IfVmove { handle: Handle = handle, jail: String = jail } "if_vmove" "moves it to the vnet of a jail; `0` is the host.";
    IfUp { handle: Handle = handle } "if_up" "marks it up.";
    IfDown { handle: Handle = handle } "if_down" "marks it down.";
    Ifpromisc { handle: Handle = handle, on: bool = on_off } "ifpromisc" "counts promiscuous users.";
    IfAllmulti { handle: Handle = handle, on: bool = on_off } "if_allmulti" "counts users of all multicast.";
    IfAddmulti { handle: Handle = handle, mac: [u8; 6] = mac } "if_addmulti" "joins a link-level multicast group.";
    IfDelmulti { handle: Handle = handle, mac: [u8; 6] = mac } "if_delmulti" "leaves a link-level multicast group.";
    IfTransmit { handle: Handle = handle, frame: FrameSpec = frame } "if_transmit" "sends a frame out: to everybody, from the interface's address, if nothing else is said.";
    IfInput { handle: Handle = handle, frame: FrameSpec = frame } "if_input" "brings such a frame in.";
    NetisrQueue { handle: Handle = handle, frame: FrameSpec = frame } "netisr_queue" "queues such a frame, with the index and generation of the interface that it came in through.";
    SwiNet {} "swi_net" "brings in what was queued, through the interfaces that are still there.";
    IfGetCounter { handle: Handle = handle, counter: IfCounter = counter } "if_get_counter" "prints a counter: `ipackets`, `ierrors`, `opackets`, `oerrors`, `iqdrops`, `oqdrops`, `noproto`.";
    Ip6Input { index: u32 = number } "ip6_input" "handles a packet that was queued with this interface index; prints how many there were.";
    Lladdr { handle: Handle = handle } "lladdr" "reads the link-level address as a dump does.";
    TunOpen { name: String = name } "tun_open" "opens the device of a tun, tap or vmnet.";
    TunClose { name: String = name } "tun_close" "closes the device that was opened under this name.";
    TunTransient { name: String = name } "tun_transient" "has the close destroy the interface.";
    TunRead { name: String = name } "tun_read" "reads a packet from the device; sleeps for one.";
    TunWrite { name: String = name, frame: FrameSpec = frame } "tun_write" "writes a packet to the device: to everybody, from nobody, if nothing else is said.";
    EpochWait {} "epoch_wait" "waits for a grace period of the net epoch.";
    EpochDrainCallbacks {} "epoch_drain_callbacks" "waits until the callbacks queued so far have run.";
    RunTasks {} "run_tasks" "runs the queued tasks.";
}

pub(super) fn decode(args: &mut Args<'_>) -> Result<Kpi, CmdError> {
    let no_vnet = args.eat("-n");
    let func = args.need("a function")?;
    Ok(Kpi { no_vnet, call: call(func, args)? })
}

fn handle(func: &Arg, args: &mut Args<'_>) -> Result<Handle, CmdError> {
    args.value(func, "an interface").map(|arg| arg.text.clone())
}

fn name(func: &Arg, args: &mut Args<'_>) -> Result<String, CmdError> {
    args.value(func, "a name").map(|arg| arg.text.clone())
}

fn group(func: &Arg, args: &mut Args<'_>) -> Result<String, CmdError> {
    args.value(func, "a group").map(|arg| arg.text.clone())
}

fn jail(func: &Arg, args: &mut Args<'_>) -> Result<String, CmdError> {
    args.value(func, "a jail").map(|arg| arg.text.clone())
}

#[expect(clippy::unnecessary_wraps, reason = "the table calls every reader alike")]
fn optional(_: &Arg, args: &mut Args<'_>) -> Result<Option<String>, CmdError> {
    Ok(args.next().map(|arg| arg.text.clone()))
}

fn mac(func: &Arg, args: &mut Args<'_>) -> Result<[u8; 6], CmdError> {
    args.value(func, "a link-level address")?.mac()
}

fn frame(_: &Arg, args: &mut Args<'_>) -> Result<FrameSpec, CmdError> {
    if let Some(arg) = args.peek().filter(|arg| arg.text.starts_with("0x")).cloned() {
        args.next();
        let digits = &arg.text.as_bytes()[2..];
        let byte =
            |pair: &[u8]| match pair.iter().map(|&digit| (digit as char).to_digit(16)).collect::<Option<Vec<_>>>() {
                Some(digits) if digits.len() == 2 => u8::try_from(digits[0] << 4 | digits[1]).ok(),
                _ => None,
            };
        let bytes = digits.chunks(2).map(byte).collect::<Option<Vec<u8>>>();
        let what = || arg.error(format!("{} is no frame: two hexadecimal digits are a byte", quote(&arg.text)));
        return bytes.map(FrameSpec::Bytes).ok_or_else(what);
    }
    let destination = args.next().map(Arg::mac).transpose()?;
    Ok(FrameSpec::Addressed { destination, source: args.next().map(Arg::mac).transpose()? })
}

fn optional_mac(_: &Arg, args: &mut Args<'_>) -> Result<Option<[u8; 6]>, CmdError> {
    args.next().map(Arg::mac).transpose()
}

fn counter(func: &Arg, args: &mut Args<'_>) -> Result<IfCounter, CmdError> {
    let arg = args.value(func, "a counter")?;
    match COUNTERS.iter().find(|(name, _)| *name == arg.text) {
        Some(&(_, counter)) => Ok(counter),
        None => Err(arg.unknown("counter", &COUNTERS.map(|(name, _)| name))),
    }
}

fn number(func: &Arg, args: &mut Args<'_>) -> Result<u32, CmdError> {
    args.value(func, "an index")?.number("an index", 0..=u32::MAX)
}

fn short(func: &Arg, args: &mut Args<'_>) -> Result<u16, CmdError> {
    args.value(func, "a generation")?.number("a generation", 0..=u16::MAX)
}

fn up_down(func: &Arg, args: &mut Args<'_>) -> Result<bool, CmdError> {
    choice(args.value(func, "`up` or `down`")?, "up", "down")
}

fn on_off(func: &Arg, args: &mut Args<'_>) -> Result<bool, CmdError> {
    choice(args.value(func, "`1` or `0`")?, "1", "0")
}

fn choice(arg: &Arg, yes: &str, no: &str) -> Result<bool, CmdError> {
    match arg.text.as_str() {
        text if text == yes => Ok(true),
        text if text == no => Ok(false),
        _ => Err(arg.error(format!("{} is neither `{yes}` nor `{no}`", quote(&arg.text)))),
    }
}
