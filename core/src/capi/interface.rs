//! The functions for interfaces.
//!
//! All take the calling thread, and handles of its kernel. `EINVAL` for a null handle or pointer, `EBADF` for a stale or a
//! foreign handle, and `EPERM` for a handle of another thread are errors of all of them.
#![expect(unsafe_code, reason = "exports functions by name, and passes on what C promises of its pointers")]

use core::ffi::{c_char, c_int, c_void};

use super::abi::{
    IFNET_IF_DUNIT_NONE, if_input_fn_t, if_ioctl_fn_t, if_qflush_fn_t, if_reassign_fn_t, if_t, if_transmit_fn_t, mbuf,
    thread, vnet,
};
use super::host::Mbuf;
use super::kernel::{handle, verb};
use super::objects::Verb;
use super::registry::with_thread;
use super::{driver, raw};
use crate::ifnet::{IfCounter, IfFlags, IfOps, IfType, LinkState};
use crate::{Errno, IfName};

/// Allocates an interface of this type (`IFNET_IFT_…`) in the current vnet: it has an index, and is on no list. Null
/// without memory, for an unknown type, or for a bad thread.
#[unsafe(no_mangle)]
pub extern "C" fn if_alloc(td: *mut thread, ty: u8) -> if_t {
    handle(td, |call| {
        let types = [IfType::Other, IfType::Ether, IfType::Ppp, IfType::Loop];
        let ty = types.into_iter().find(|known| *known as u8 == ty).ok_or(Errno::EINVAL)?;
        let owner = crate::if_alloc(call.td(), ty)?;
        if let Err(errno) = driver::install(&owner) {
            crate::if_free(call.td(), owner);
            return Err(errno);
        }
        call.kernel.objects.allocated(call.kernel.tag, owner).map_err(|(errno, owner)| {
            crate::if_free(call.td(), owner);
            errno
        })
    })
}

/// Frees an interface that `if_alloc` gave. Its handle is stale from then on, unless references are held; the last of
/// them ends the interface, a grace period later. Waits until nobody sends or receives through the driver: its data may go.
///
/// Errors: `EBUSY` if it is attached, or if another function of its driver is under way; `EPERM` if C did not allocate it;
/// `EBADF` for a double free.
#[unsafe(no_mangle)]
pub extern "C" fn if_free(td: *mut thread, ifp: if_t) -> c_int {
    verb(td, |call| {
        call.as_owner(ifp, Verb::Free, |owner| {
            // Nobody begins to send through the driver from here on, and after the wait nobody does any more.
            owner.set_ops(IfOps::DEAD);
            crate::if_free(call.td(), owner);
            call.td().net_epoch_wait();
            Ok(())
        })
    })
}

/// Names an interface `<name><unit>`, or `<name>` with `IFNET_IF_DUNIT_NONE`. Before attach.
///
/// Errors: `ENAMETOOLONG`; `EINVAL` for an empty name; `EBUSY` if it is attached.
///
/// # Safety
/// `name` is null or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn if_initname(td: *mut thread, ifp: if_t, name: *const c_char, unit: u32) -> c_int {
    verb(td, |call| {
        // SAFETY: the caller's promise.
        let name = unsafe { raw::name(name)? };
        call.as_owner(ifp, Verb::Name, |owner| {
            crate::if_initname(&owner, &name, (unit != IFNET_IF_DUNIT_NONE).then_some(unit))
        })
    })
}

/// Attaches an interface to the current vnet, which becomes its home.
///
/// Errors: `EINVAL` without a name; `EEXIST` if it is attached; `EBUSY` if the vnet is being destroyed; `ENOMEM`.
#[unsafe(no_mangle)]
pub extern "C" fn if_attach(td: *mut thread, ifp: if_t) -> c_int {
    verb(td, |call| call.as_owner(ifp, Verb::Attach, |owner| crate::if_attach(call.td(), &owner)))
}

/// The same, of an Ethernet interface with this address of six bytes, and with a tap.
///
/// # Safety
/// `lladdr` is null or points to six bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ether_ifattach(td: *mut thread, ifp: if_t, lladdr: *const u8) -> c_int {
    verb(td, |call| {
        // SAFETY: the caller's promise.
        let lladdr = unsafe { raw::get(lladdr.cast::<[u8; 6]>()) }.ok_or(Errno::EINVAL)?;
        call.as_owner(ifp, Verb::Attach, |owner| crate::ether_ifattach(call.td(), &owner, lladdr))
    })
}

/// Detaches an interface; only `if_free` is left to do.
///
/// The kernel panics with `<if>: interface is not on the active list` if it is not attached. Errors: `EPERM` if C did not
/// allocate it.
#[unsafe(no_mangle)]
pub extern "C" fn if_detach(td: *mut thread, ifp: if_t) -> c_int {
    verb(td, |call| {
        call.as_owner(ifp, Verb::Detach, |owner| {
            crate::if_detach(call.td(), &owner);
            Ok(())
        })
    })
}

/// The same, of what `ether_ifattach` attached.
#[unsafe(no_mangle)]
pub extern "C" fn ether_ifdetach(td: *mut thread, ifp: if_t) -> c_int {
    verb(td, |call| {
        call.as_owner(ifp, Verb::Detach, |owner| {
            crate::ether_ifdetach(call.td(), &owner);
            Ok(())
        })
    })
}

/// Takes a reference: the handle is good until the `if_rele` for it. Errors: `ENOMEM`.
#[unsafe(no_mangle)]
pub extern "C" fn if_ref(td: *mut thread, ifp: if_t) -> c_int {
    verb(td, |call| call.if_ref(ifp))
}

/// Gives a reference up. Errors: `EINVAL` for one too many of an interface that C allocated.
#[unsafe(no_mangle)]
pub extern "C" fn if_rele(td: *mut thread, ifp: if_t) -> c_int {
    verb(td, |call| call.kernel.objects.release(call.ifnet_handle(ifp)?))
}

/// Moves an interface from wherever it is to a vnet.
///
/// Errors: `EEXIST` if it is there; `ENODEV` if it is not attached; `EBUSY` if the vnet is being destroyed; `ENOMEM`.
#[unsafe(no_mangle)]
pub extern "C" fn if_vmove(td: *mut thread, ifp: if_t, new_vnet: *mut vnet) -> c_int {
    verb(td, |call| {
        let ifp = call.ifnet(ifp)?;
        crate::if_vmove_to(call.td(), &ifp, &call.vnet(new_vnet)?)
    })
}

/// Lends the interface `name` of the current vnet to another vnet: `SIOCSIFVNET`.
///
/// Errors: `ENXIO` if there is none; `EEXIST` if the name is taken there; `EBUSY`, `ENODEV`, `ENOMEM`.
///
/// # Safety
/// `name` is null or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn if_vmove_loan(td: *mut thread, name: *const c_char, target: *mut vnet) -> c_int {
    verb(td, |call| {
        // SAFETY: the caller's promise.
        let name = unsafe { raw::name(name)? };
        crate::if_vmove_loan(call.td(), &name, &call.vnet(target)?).map(drop)
    })
}

/// Pulls the interface `name` of another vnet into the current one: `SIOCSIFRVNET`. Errors: as `if_vmove_loan`.
///
/// # Safety
/// `name` is null or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn if_vmove_reclaim(td: *mut thread, name: *const c_char, source: *mut vnet) -> c_int {
    verb(td, |call| {
        // SAFETY: the caller's promise.
        let name = unsafe { raw::name(name)? };
        crate::if_vmove_reclaim(call.td(), &name, &call.vnet(source)?).map(drop)
    })
}

/// Makes an interface of a built-in kind: `epair`, `bridge0`, … Writes its name to `made`, if that is not null.
///
/// Errors: `EINVAL` for an unknown kind; `EEXIST`, `ENOSPC`, `EBUSY`, `ENAMETOOLONG`, `ENOMEM`, or the driver's.
///
/// # Safety
/// `name` is null or a C string; `made` is null or points to `IFNET_IFNAMSIZ` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn if_clone_create(td: *mut thread, name: *const c_char, made: *mut c_char) -> c_int {
    verb(td, |call| {
        // SAFETY: the caller's promise.
        let name = unsafe { raw::name(name)? };
        let created = crate::if_clone_create(call.td(), &name)?;
        if !made.is_null() {
            // SAFETY: the caller's promise.
            unsafe { raw::put_text(made, crate::ifnet::IFNAMSIZ, &created)? };
        }
        Ok(())
    })
}

/// Destroys an interface of the current vnet that was cloned. Errors: `ENXIO`, `EINVAL`, or the driver's.
///
/// # Safety
/// `name` is null or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn if_clone_destroy(td: *mut thread, name: *const c_char) -> c_int {
    verb(td, |call| {
        // SAFETY: the caller's promise.
        let name = unsafe { raw::name(name)? };
        crate::if_clone_destroy(call.td(), &name)
    })
}

/// The interface of this name in the current vnet, with a reference; null if there is none.
///
/// # Safety
/// `name` is null or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ifunit_ref(td: *mut thread, name: *const c_char) -> if_t {
    handle(td, |call| {
        // SAFETY: the caller's promise.
        let name = unsafe { raw::name(name)? };
        let found = crate::ifunit_ref(call.td(), &name).ok_or(Errno::ENXIO)?;
        call.kernel.objects.keep(call.kernel.tag, found)
    })
}

/// The interface with this index in the current vnet, with a reference; null if there is none.
#[unsafe(no_mangle)]
pub extern "C" fn ifnet_byindex_ref(td: *mut thread, index: u32) -> if_t {
    handle(td, |call| {
        let found = crate::ifnet_byindex_ref(call.td(), index).ok_or(Errno::ENXIO)?;
        call.kernel.objects.keep(call.kernel.tag, found)
    })
}

/// Writes the name of an interface. Errors: `ENAMETOOLONG` if it does not fit.
///
/// # Safety
/// `buffer` is null or points to `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn if_name(td: *mut thread, ifp: if_t, buffer: *mut c_char, len: usize) -> c_int {
    verb(td, |call| {
        let name: IfName = call.ifnet(ifp)?.name();
        // SAFETY: the caller's promise.
        unsafe { raw::put_text(buffer, len, &name) }
    })
}

/// The index of an interface; 0 for a bad handle.
#[unsafe(no_mangle)]
pub extern "C" fn if_getindex(td: *mut thread, ifp: if_t) -> u32 {
    with_thread(td, |call| Ok(call.ifnet(ifp)?.index())).unwrap_or(0)
}

/// The flags (`IFNET_IFF_…`) of an interface; 0 for a bad handle.
#[unsafe(no_mangle)]
pub extern "C" fn if_getflags(td: *mut thread, ifp: if_t) -> u32 {
    with_thread(td, |call| Ok(call.ifnet(ifp)?.flags().bits())).unwrap_or(0)
}

/// `SIOCSIFFLAGS`: sets the flags that a user may set; takes the interface up or down. Errors: `ENXIO` if it is dying.
#[unsafe(no_mangle)]
pub extern "C" fn if_setflags(td: *mut thread, ifp: if_t, flags: u32) -> c_int {
    verb(td, |call| crate::if_setflags(call.td(), &call.ifnet(ifp)?, IfFlags::from_bits_truncate(flags)))
}

/// Sets and clears flags as the driver of the interface may: without telling anybody. `IFNET_IFF_DYING` is left alone.
/// Errors: `EPERM` if C did not allocate it.
#[unsafe(no_mangle)]
pub extern "C" fn if_setflagbits(td: *mut thread, ifp: if_t, set: u32, clear: u32) -> c_int {
    verb(td, |call| {
        let ifp = call.ifnet(ifp)?;
        driver::softc(&ifp)?;
        let kept = IfFlags::DYING | IfFlags::RENAMING;
        ifp.clear_flags(IfFlags::from_bits_truncate(clear).difference(kept));
        ifp.init_flags(IfFlags::from_bits_truncate(set));
        Ok(())
    })
}

/// The MTU of an interface; 0 for a bad handle.
#[unsafe(no_mangle)]
pub extern "C" fn if_getmtu(td: *mut thread, ifp: if_t) -> u32 {
    with_thread(td, |call| Ok(call.ifnet(ifp)?.mtu())).unwrap_or(0)
}

/// `SIOCSIFMTU`. Errors: `EINVAL` out of range; `EOPNOTSUPP` if the driver has no ioctl; the driver's.
#[unsafe(no_mangle)]
pub extern "C" fn if_setmtu(td: *mut thread, ifp: if_t, mtu: u32) -> c_int {
    verb(td, |call| crate::if_setmtu(call.td(), &call.ifnet(ifp)?, mtu))
}

/// The vnet in which an interface is; null for a bad handle. It may be another as soon as it is known.
#[unsafe(no_mangle)]
pub extern "C" fn if_getvnet(td: *mut thread, ifp: if_t) -> *mut vnet {
    handle(td, |call| call.vnet_handle(&call.ifnet(ifp)?.if_vnet(call.td())))
}

/// A counter (`IFNET_COUNTER_…`) of an interface; 0 for a bad handle or counter.
#[unsafe(no_mangle)]
pub extern "C" fn if_getcounter(td: *mut thread, ifp: if_t, counter: c_int) -> usize {
    let counters = [IfCounter::Ipackets, IfCounter::Ierrors, IfCounter::Opackets, IfCounter::Oerrors];
    with_thread(td, |call| {
        let counter = usize::try_from(counter).ok().and_then(|at| counters.get(at).copied()).ok_or(Errno::EINVAL)?;
        Ok(call.ifnet(ifp)?.counter(counter))
    })
    .unwrap_or(0)
}

/// Tells of a change of the link (`IFNET_LINK_STATE_…`). Errors: `EPERM` if C did not allocate the interface.
#[unsafe(no_mangle)]
pub extern "C" fn if_link_state_change(td: *mut thread, ifp: if_t, state: c_int) -> c_int {
    verb(td, |call| {
        let states = [LinkState::Unknown, LinkState::Down, LinkState::Up];
        let state = states.into_iter().find(|known| *known as c_int == state).ok_or(Errno::EINVAL)?;
        let ifp = call.ifnet(ifp)?;
        driver::softc(&ifp)?;
        crate::if_link_state_change(call.td(), &ifp, state);
        Ok(())
    })
}

/// The driver's own data; null for a bad handle, and if C did not allocate the interface.
#[unsafe(no_mangle)]
pub extern "C" fn if_getsoftc(td: *mut thread, ifp: if_t) -> *mut c_void {
    handle(td, |call| driver::softc(&call.ifnet(ifp)?))
}

/// Sets the driver's own data. Errors: `EPERM` if C did not allocate the interface; so all of the following.
#[unsafe(no_mangle)]
pub extern "C" fn if_setsoftc(td: *mut thread, ifp: if_t, softc: *mut c_void) -> c_int {
    verb(td, |call| driver::set_softc(&call.ifnet(ifp)?, softc))
}

/// Sets the function that sends. Null: `ENXIO`, and the packet is freed.
#[unsafe(no_mangle)]
pub extern "C" fn if_settransmitfn(td: *mut thread, ifp: if_t, function: if_transmit_fn_t) -> c_int {
    verb(td, |call| driver::set(&call.ifnet(ifp)?, |functions| functions.transmit = function))
}

/// Sets the function that gets what comes in. Null: the packet is freed.
#[unsafe(no_mangle)]
pub extern "C" fn if_setinputfn(td: *mut thread, ifp: if_t, function: if_input_fn_t) -> c_int {
    verb(td, |call| driver::set(&call.ifnet(ifp)?, |functions| functions.input = function))
}

/// Sets the function that throws away what is queued. Null: nothing.
#[unsafe(no_mangle)]
pub extern "C" fn if_setqflushfn(td: *mut thread, ifp: if_t, function: if_qflush_fn_t) -> c_int {
    verb(td, |call| driver::set(&call.ifnet(ifp)?, |functions| functions.qflush = function))
}

/// Sets the function for requests. Null: `EOPNOTSUPP`.
#[unsafe(no_mangle)]
pub extern "C" fn if_setioctlfn(td: *mut thread, ifp: if_t, function: if_ioctl_fn_t) -> c_int {
    verb(td, |call| driver::set(&call.ifnet(ifp)?, |functions| functions.ioctl = function))
}

/// Sets the function that hears of moves. Null: nothing.
#[unsafe(no_mangle)]
pub extern "C" fn if_setreassignfn(td: *mut thread, ifp: if_t, function: if_reassign_fn_t) -> c_int {
    verb(td, |call| driver::set(&call.ifnet(ifp)?, |functions| functions.reassign = function))
}

/// Makes an interface a member of a group. Errors: `EINVAL` for a name that ends in a digit; `EEXIST`, `ENXIO`, `ENOMEM`.
///
/// # Safety
/// `group` is null or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn if_addgroup(td: *mut thread, ifp: if_t, group: *const c_char) -> c_int {
    verb(td, |call| {
        // SAFETY: the caller's promise.
        let group = unsafe { raw::name(group)? };
        crate::if_addgroup(call.td(), &call.ifnet(ifp)?, &group)
    })
}

/// Ends a membership. Errors: `ENOENT` if it is no member.
///
/// # Safety
/// `group` is null or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn if_delgroup(td: *mut thread, ifp: if_t, group: *const c_char) -> c_int {
    verb(td, |call| {
        // SAFETY: the caller's promise.
        let group = unsafe { raw::name(group)? };
        crate::if_delgroup(call.td(), &call.ifnet(ifp)?, &group)
    })
}

/// Renames an interface. Errors: `EEXIST`, `EINVAL`, `ENAMETOOLONG`, `ENXIO`, `ENOMEM`.
///
/// # Safety
/// `name` is null or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn if_rename(td: *mut thread, ifp: if_t, name: *const c_char) -> c_int {
    verb(td, |call| {
        // SAFETY: the caller's promise.
        let name = unsafe { raw::name(name)? };
        crate::if_rename(call.td(), &call.ifnet(ifp)?, &name)
    })
}

/// Sends a packet through an interface. The packet is gone, whatever this returns, unless `td` is no handle of the calling
/// thread. Errors: the driver's; `ENXIO` from an interface that is dead; `ENOBUFS` in a ring of interfaces.
#[unsafe(no_mangle)]
pub extern "C" fn if_transmit(td: *mut thread, ifp: if_t, m: *mut mbuf) -> c_int {
    verb(td, |call| {
        // First, so that the packet is freed if the handle is bad.
        let packet = Mbuf::from_c(call.td().platform(), m).ok_or(Errno::EINVAL)?;
        let ifp = call.ifnet(ifp)?;
        let section = call.td().net_epoch_enter();
        crate::if_transmit(call.td(), &ifp, packet, &section)
    })
}

/// A packet came in through an interface. It is gone, as with `if_transmit`.
#[unsafe(no_mangle)]
pub extern "C" fn if_input(td: *mut thread, ifp: if_t, m: *mut mbuf) -> c_int {
    verb(td, |call| {
        let packet = Mbuf::from_c(call.td().platform(), m).ok_or(Errno::EINVAL)?;
        let ifp = call.ifnet(ifp)?;
        let section = call.td().net_epoch_enter();
        crate::if_input(call.td(), &ifp, packet, &section);
        Ok(())
    })
}
