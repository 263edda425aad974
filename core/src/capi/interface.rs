//! The functions for interfaces. What each does, and its errors, is said in `export`.
//!
//! All take the calling thread, and handles of its kernel. `EINVAL` for a null handle or pointer, `EBADF` for a stale or a
//! foreign handle, and `EPERM` for a handle of another thread are errors of all of them.
#![expect(unsafe_code, reason = "passes on what C promises of its pointers")]

use core::ffi::{c_char, c_int, c_void};

use super::abi::{
    IFNET_IF_DUNIT_NONE, if_input_fn_t, if_ioctl_fn_t, if_qflush_fn_t, if_reassign_fn_t, if_t, if_transmit_fn_t,
    ifnet_thread_t, mbuf, vnet_t,
};
use super::kernel::{handle, verb};
use super::objects::Verb;
use super::registry::CPlatform;
use super::session::with_thread;
use super::{driver, raw};
use crate::ifnet::{IfCounter, IfFlags, IfOps, IfType, LinkState};
use crate::{Errno, IfName};

pub fn if_alloc<P: CPlatform>(td: ifnet_thread_t, ty: u8) -> if_t {
    handle::<P, _>(td, |call| {
        let types = [IfType::Other, IfType::Ether, IfType::Ppp, IfType::Loop];
        let ty = types.into_iter().find(|known| *known as u8 == ty).ok_or(Errno::EINVAL)?;
        let owner = crate::if_alloc(call.td(), ty)?;
        let prepared = call.name(&owner).and_then(|handle| driver::install(&owner, handle).map(|()| handle));
        let noted = match prepared {
            Ok(handle) => call.kernel.objects.allocated(handle, owner),
            Err(errno) => Err((errno, owner)),
        };
        noted.map_err(|(errno, owner)| {
            crate::if_free(call.td(), owner);
            errno
        })
    })
}

pub fn if_free<P: CPlatform>(td: ifnet_thread_t, ifp: if_t) -> c_int {
    verb::<P>(td, |call| {
        call.as_owner(ifp, Verb::Free, |owner| {
            // Nobody begins to send through the driver from here on, and after the wait nobody does any more.
            owner.set_ops(IfOps::DEAD);
            crate::if_free(call.td(), owner);
            call.td().net_epoch_wait();
            Ok(())
        })
    })
}

pub unsafe fn if_initname<P: CPlatform>(td: ifnet_thread_t, ifp: if_t, name: *const c_char, unit: u32) -> c_int {
    verb::<P>(td, |call| {
        // SAFETY: the caller's promise.
        let name = unsafe { raw::name(name)? };
        call.as_owner(ifp, Verb::Name, |owner| {
            crate::if_initname(&owner, &name, (unit != IFNET_IF_DUNIT_NONE).then_some(unit))
        })
    })
}

pub fn if_attach<P: CPlatform>(td: ifnet_thread_t, ifp: if_t) -> c_int {
    verb::<P>(td, |call| call.as_owner(ifp, Verb::Attach, |owner| crate::if_attach(call.td(), &owner)))
}

pub unsafe fn ether_ifattach<P: CPlatform>(td: ifnet_thread_t, ifp: if_t, lladdr: *const u8) -> c_int {
    verb::<P>(td, |call| {
        // SAFETY: the caller's promise.
        let lladdr = unsafe { raw::get(lladdr.cast::<[u8; 6]>()) }.ok_or(Errno::EINVAL)?;
        call.as_owner(ifp, Verb::Attach, |owner| crate::ether_ifattach(call.td(), &owner, lladdr))
    })
}

pub fn if_detach<P: CPlatform>(td: ifnet_thread_t, ifp: if_t) -> c_int {
    verb::<P>(td, |call| {
        call.as_owner(ifp, Verb::Detach, |owner| {
            crate::if_detach(call.td(), &owner);
            Ok(())
        })
    })
}

pub fn ether_ifdetach<P: CPlatform>(td: ifnet_thread_t, ifp: if_t) -> c_int {
    verb::<P>(td, |call| {
        call.as_owner(ifp, Verb::Detach, |owner| {
            crate::ether_ifdetach(call.td(), &owner);
            Ok(())
        })
    })
}

pub fn if_ref<P: CPlatform>(td: ifnet_thread_t, ifp: if_t) -> c_int {
    verb::<P>(td, |call| call.if_ref(ifp))
}

pub fn if_rele<P: CPlatform>(td: ifnet_thread_t, ifp: if_t) -> c_int {
    verb::<P>(td, |call| call.kernel.objects.release(call.ifnet_handle(ifp)?))
}

pub fn if_vmove<P: CPlatform>(td: ifnet_thread_t, ifp: if_t, new_vnet: vnet_t) -> c_int {
    verb::<P>(td, |call| {
        let ifp = call.ifnet(ifp)?;
        crate::if_vmove_to(call.td(), &ifp, &call.vnet(new_vnet)?)
    })
}

pub unsafe fn if_vmove_loan<P: CPlatform>(td: ifnet_thread_t, name: *const c_char, target: vnet_t) -> c_int {
    verb::<P>(td, |call| {
        // SAFETY: the caller's promise.
        let name = unsafe { raw::name(name)? };
        crate::if_vmove_loan(call.td(), &name, &call.vnet(target)?).map(drop)
    })
}

pub unsafe fn if_vmove_reclaim<P: CPlatform>(td: ifnet_thread_t, name: *const c_char, source: vnet_t) -> c_int {
    verb::<P>(td, |call| {
        // SAFETY: the caller's promise.
        let name = unsafe { raw::name(name)? };
        crate::if_vmove_reclaim(call.td(), &name, &call.vnet(source)?).map(drop)
    })
}

pub unsafe fn if_clone_create<P: CPlatform>(td: ifnet_thread_t, name: *const c_char, made: *mut c_char) -> c_int {
    verb::<P>(td, |call| {
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

pub unsafe fn if_clone_destroy<P: CPlatform>(td: ifnet_thread_t, name: *const c_char) -> c_int {
    verb::<P>(td, |call| {
        // SAFETY: the caller's promise.
        let name = unsafe { raw::name(name)? };
        crate::if_clone_destroy(call.td(), &name)
    })
}

pub unsafe fn ifunit_ref<P: CPlatform>(td: ifnet_thread_t, name: *const c_char) -> if_t {
    handle::<P, _>(td, |call| {
        // SAFETY: the caller's promise.
        let name = unsafe { raw::name(name)? };
        let found = crate::ifunit_ref(call.td(), &name).ok_or(Errno::ENXIO)?;
        call.keep(found)
    })
}

pub fn ifnet_byindex_ref<P: CPlatform>(td: ifnet_thread_t, index: u32) -> if_t {
    handle::<P, _>(td, |call| {
        let found = crate::ifnet_byindex_ref(call.td(), index).ok_or(Errno::ENXIO)?;
        call.keep(found)
    })
}

pub unsafe fn if_name<P: CPlatform>(td: ifnet_thread_t, ifp: if_t, buffer: *mut c_char, len: usize) -> c_int {
    verb::<P>(td, |call| {
        let name: IfName = call.ifnet(ifp)?.name();
        // SAFETY: the caller's promise.
        unsafe { raw::put_text(buffer, len, &name) }
    })
}

pub fn if_getindex<P: CPlatform>(td: ifnet_thread_t, ifp: if_t) -> u32 {
    with_thread::<P, _>(td, |call| Ok(call.ifnet(ifp)?.index())).unwrap_or(0)
}

pub fn if_getflags<P: CPlatform>(td: ifnet_thread_t, ifp: if_t) -> u32 {
    with_thread::<P, _>(td, |call| Ok(call.ifnet(ifp)?.flags().bits())).unwrap_or(0)
}

pub fn if_setflags<P: CPlatform>(td: ifnet_thread_t, ifp: if_t, flags: u32) -> c_int {
    verb::<P>(td, |call| crate::if_setflags(call.td(), &call.ifnet(ifp)?, IfFlags::from_bits_truncate(flags)))
}

pub fn if_setflagbits<P: CPlatform>(td: ifnet_thread_t, ifp: if_t, set: u32, clear: u32) -> c_int {
    verb::<P>(td, |call| {
        let ifp = call.ifnet(ifp)?;
        driver::softc(&ifp)?;
        let kept = IfFlags::DYING | IfFlags::RENAMING;
        ifp.clear_flags(IfFlags::from_bits_truncate(clear).difference(kept));
        ifp.init_flags(IfFlags::from_bits_truncate(set));
        Ok(())
    })
}

pub fn if_getmtu<P: CPlatform>(td: ifnet_thread_t, ifp: if_t) -> u32 {
    with_thread::<P, _>(td, |call| Ok(call.ifnet(ifp)?.mtu())).unwrap_or(0)
}

pub fn if_setmtu<P: CPlatform>(td: ifnet_thread_t, ifp: if_t, mtu: u32) -> c_int {
    verb::<P>(td, |call| crate::if_setmtu(call.td(), &call.ifnet(ifp)?, mtu))
}

pub fn if_getvnet<P: CPlatform>(td: ifnet_thread_t, ifp: if_t) -> vnet_t {
    handle::<P, _>(td, |call| call.vnet_handle(&call.ifnet(ifp)?.if_vnet(call.td())))
}

pub fn if_getcounter<P: CPlatform>(td: ifnet_thread_t, ifp: if_t, counter: c_int) -> usize {
    let counters = [IfCounter::Ipackets, IfCounter::Ierrors, IfCounter::Opackets, IfCounter::Oerrors];
    with_thread::<P, _>(td, |call| {
        let counter = usize::try_from(counter).ok().and_then(|at| counters.get(at).copied()).ok_or(Errno::EINVAL)?;
        Ok(call.ifnet(ifp)?.counter(counter))
    })
    .unwrap_or(0)
}

pub fn if_link_state_change<P: CPlatform>(td: ifnet_thread_t, ifp: if_t, state: c_int) -> c_int {
    verb::<P>(td, |call| {
        let states = [LinkState::Unknown, LinkState::Down, LinkState::Up];
        let state = states.into_iter().find(|known| *known as c_int == state).ok_or(Errno::EINVAL)?;
        let ifp = call.ifnet(ifp)?;
        driver::softc(&ifp)?;
        crate::if_link_state_change(call.td(), &ifp, state);
        Ok(())
    })
}

pub fn if_getsoftc<P: CPlatform>(td: ifnet_thread_t, ifp: if_t) -> *mut c_void {
    with_thread::<P, _>(td, |call| driver::softc(&call.ifnet(ifp)?)).unwrap_or(core::ptr::null_mut())
}

pub fn if_setsoftc<P: CPlatform>(td: ifnet_thread_t, ifp: if_t, softc: *mut c_void) -> c_int {
    verb::<P>(td, |call| driver::set_softc(&call.ifnet(ifp)?, softc))
}

pub fn if_settransmitfn<P: CPlatform>(td: ifnet_thread_t, ifp: if_t, function: if_transmit_fn_t) -> c_int {
    verb::<P>(td, |call| driver::set(&call.ifnet(ifp)?, |functions| functions.transmit = function))
}

pub fn if_setinputfn<P: CPlatform>(td: ifnet_thread_t, ifp: if_t, function: if_input_fn_t) -> c_int {
    verb::<P>(td, |call| driver::set(&call.ifnet(ifp)?, |functions| functions.input = function))
}

pub fn if_setqflushfn<P: CPlatform>(td: ifnet_thread_t, ifp: if_t, function: if_qflush_fn_t) -> c_int {
    verb::<P>(td, |call| driver::set(&call.ifnet(ifp)?, |functions| functions.qflush = function))
}

pub fn if_setioctlfn<P: CPlatform>(td: ifnet_thread_t, ifp: if_t, function: if_ioctl_fn_t) -> c_int {
    verb::<P>(td, |call| driver::set(&call.ifnet(ifp)?, |functions| functions.ioctl = function))
}

pub fn if_setreassignfn<P: CPlatform>(td: ifnet_thread_t, ifp: if_t, function: if_reassign_fn_t) -> c_int {
    verb::<P>(td, |call| driver::set(&call.ifnet(ifp)?, |functions| functions.reassign = function))
}

pub unsafe fn if_addgroup<P: CPlatform>(td: ifnet_thread_t, ifp: if_t, group: *const c_char) -> c_int {
    verb::<P>(td, |call| {
        // SAFETY: the caller's promise.
        let group = unsafe { raw::name(group)? };
        crate::if_addgroup(call.td(), &call.ifnet(ifp)?, &group)
    })
}

pub unsafe fn if_delgroup<P: CPlatform>(td: ifnet_thread_t, ifp: if_t, group: *const c_char) -> c_int {
    verb::<P>(td, |call| {
        // SAFETY: the caller's promise.
        let group = unsafe { raw::name(group)? };
        crate::if_delgroup(call.td(), &call.ifnet(ifp)?, &group)
    })
}

pub unsafe fn if_rename<P: CPlatform>(td: ifnet_thread_t, ifp: if_t, name: *const c_char) -> c_int {
    verb::<P>(td, |call| {
        // SAFETY: the caller's promise.
        let name = unsafe { raw::name(name)? };
        crate::if_rename(call.td(), &call.ifnet(ifp)?, &name)
    })
}

pub fn if_transmit<P: CPlatform>(td: ifnet_thread_t, ifp: if_t, m: *mut mbuf) -> c_int {
    verb::<P>(td, |call| {
        // First, so that the packet is freed if the handle is bad.
        let packet = call.td().platform().packet_from_c(m).ok_or(Errno::EINVAL)?;
        let ifp = call.ifnet(ifp)?;
        let section = call.td().net_epoch_enter();
        crate::if_transmit(call.td(), &ifp, packet, &section)
    })
}

pub fn if_input<P: CPlatform>(td: ifnet_thread_t, ifp: if_t, m: *mut mbuf) -> c_int {
    verb::<P>(td, |call| {
        let packet = call.td().platform().packet_from_c(m).ok_or(Errno::EINVAL)?;
        let ifp = call.ifnet(ifp)?;
        let section = call.td().net_epoch_enter();
        crate::if_input(call.td(), &ifp, packet, &section);
        Ok(())
    })
}

pub fn bridge_addm<P: CPlatform>(td: ifnet_thread_t, bridge: if_t, member: if_t) -> c_int {
    verb::<P>(td, |call| crate::drivers::bridge_addm(call.td(), &call.ifnet(bridge)?, &call.ifnet(member)?))
}

pub fn bridge_delm<P: CPlatform>(td: ifnet_thread_t, bridge: if_t, member: if_t) -> c_int {
    verb::<P>(td, |call| crate::drivers::bridge_delm(call.td(), &call.ifnet(bridge)?, &call.ifnet(member)?))
}

pub fn vlan_config<P: CPlatform>(td: ifnet_thread_t, vlan: if_t, parent: if_t, tag: u16) -> c_int {
    verb::<P>(td, |call| crate::drivers::vlan_config(call.td(), &call.ifnet(vlan)?, &call.ifnet(parent)?, tag))
}

pub fn vlan_unconfig<P: CPlatform>(td: ifnet_thread_t, vlan: if_t) -> c_int {
    verb::<P>(td, |call| crate::drivers::vlan_unconfig(call.td(), &call.ifnet(vlan)?))
}
