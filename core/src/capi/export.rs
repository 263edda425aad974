//! The functions that C calls, with their texts in the header: this list is the header's source, see `.ci/capi-header`.
//!
//! A function with a name for the linker can be of one platform only, and which one is not known here. So the list is a macro
//! that exports them for the platform of a program; what they do is generic, in `kernel` and `interface`.

/// Exports the functions of the C interface for a platform, one that is a [`CPlatform`](crate::capi::CPlatform). Once in a
/// program: these are the names that its linker sees. A kernel in Rust [serves](crate::capi::serve) its own to drivers in C
/// with it; the static library for kernels in C is made with it, too.
///
/// Pointers from C that are not null must point to what the header says; see [the module](crate::capi).
#[macro_export]
macro_rules! capi_export {
    ($platform:ty) => {
        $crate::capi_functions! { $platform:

        /// Makes the calling thread one of the kernel, in the default vnet. Its handle is good in no other thread.
        ///
        /// Errors: `EINVAL`, `EBADF`; `EAGAIN` if as many are entered as the kernel was booted for.
        fn ifnet_thread_enter(kernel: ifnet_kernel_t, td: *mut ifnet_thread_t) -> c_int;
        /// Ends what `ifnet_thread_enter` began.
        ///
        /// Errors: `EINVAL`, `EBADF`; `EPERM` in another thread; `EBUSY` inside an epoch section, or from a function
        /// of a driver.
        fn ifnet_thread_exit(td: ifnet_thread_t) -> c_int;
        /// The error of the thread's last call that failed: for those that return a handle or a number.
        fn ifnet_errno(td: ifnet_thread_t) -> c_int;
        /// Does deferred work: queued tasks, unregistrations, epoch callbacks. Stores in `ran`, if that is not null,
        /// whether there was any. It may sleep; call it from where that is allowed, until there was none.
        fn ifnet_run_deferred(td: ifnet_thread_t, ran: *mut c_int) -> c_int;
        /// Checks every invariant of the kernel that can be seen from outside, while no other thread is in a call.
        ///
        /// Errors: `EDOOFUS` if one does not hold; `text`, if it is not null, says which, if it fits.
        fn ifnet_check(td: ifnet_thread_t, text: *mut c_char, len: usize) -> c_int;
        /// `NET_EPOCH_ENTER`: what is found inside lives until the end of the section. Nests; may not sleep inside.
        fn net_epoch_enter(td: ifnet_thread_t) -> c_int;
        /// `NET_EPOCH_EXIT`. Errors: `EINVAL` without a section.
        fn net_epoch_exit(td: ifnet_thread_t) -> c_int;
        /// `NET_EPOCH_WAIT`: waits for every section that is open now. Panics inside one.
        fn net_epoch_wait(td: ifnet_thread_t) -> c_int;
        /// `NET_EPOCH_DRAIN_CALLBACKS`: runs what was deferred so far. Panics inside a section.
        fn net_epoch_drain_callbacks(td: ifnet_thread_t) -> c_int;
        /// Makes a vnet with its `lo0`. Null without memory, or for a bad thread.
        fn vnet_alloc(td: ifnet_thread_t) -> vnet_t;
        /// Destroys a vnet: what is lent to it returns home first, and what was cloned in it is destroyed.
        ///
        /// Errors: `EINVAL` for null and for the default vnet; `EBADF`; `EBUSY` if another thread destroys it.
        fn vnet_destroy(td: ifnet_thread_t, vnet: vnet_t) -> c_int;
        /// The default vnet.
        fn vnet_default(td: ifnet_thread_t) -> vnet_t;
        /// How many interfaces a vnet has; -1 for a bad handle.
        fn vnet_ifcnt(td: ifnet_thread_t, vnet: vnet_t) -> c_int;
        /// The vnet in which the thread works: `curvnet`.
        fn curvnet(td: ifnet_thread_t) -> vnet_t;
        /// `CURVNET_SET`: works in `vnet` from now on. Gives the former one, for another call of this as
        /// `CURVNET_RESTORE`; null for a bad handle.
        fn curvnet_set(td: ifnet_thread_t, vnet: vnet_t) -> vnet_t;
        /// Allocates an interface of this type (`IFNET_IFT_…`) in the current vnet: it has an index, and is on no
        /// list. Null without memory, for an unknown type, or for a bad thread.
        fn if_alloc(td: ifnet_thread_t, ty: u8) -> if_t;
        /// Frees an interface that `if_alloc` gave. Its handle is stale from then on, unless references are held; the
        /// last of them ends the interface, a grace period later. Waits until nobody sends or receives through the
        /// driver: its data may go.
        ///
        /// Errors: `EBUSY` if it is attached, or if another function of its driver is under way; `EPERM` if C did not
        /// allocate it; `EBADF` for a double free.
        fn if_free(td: ifnet_thread_t, ifp: if_t) -> c_int;
        /// Names an interface `<name><unit>`, or `<name>` with `IFNET_IF_DUNIT_NONE`. Before attach.
        ///
        /// Errors: `ENAMETOOLONG`; `EINVAL` for an empty name; `EBUSY` if it is attached.
        fn if_initname(td: ifnet_thread_t, ifp: if_t, name: *const c_char, unit: u32) -> c_int;
        /// Attaches an interface to the current vnet, which becomes its home.
        ///
        /// Errors: `EINVAL` without a name; `EEXIST` if it is attached; `EBUSY` if the vnet is being destroyed;
        /// `ENOMEM`.
        fn if_attach(td: ifnet_thread_t, ifp: if_t) -> c_int;
        /// The same, of an Ethernet interface with this address of six bytes, and with a tap.
        fn ether_ifattach(td: ifnet_thread_t, ifp: if_t, lladdr: *const u8) -> c_int;
        /// Detaches an interface; only `if_free` is left to do.
        ///
        /// The kernel panics with `<if>: interface is not on the active list` if it is not attached. Errors: `EPERM`
        /// if C did not allocate it.
        fn if_detach(td: ifnet_thread_t, ifp: if_t) -> c_int;
        /// The same, of what `ether_ifattach` attached.
        fn ether_ifdetach(td: ifnet_thread_t, ifp: if_t) -> c_int;
        /// Takes a reference: the handle is good until the `if_rele` for it. Errors: `ENOMEM`.
        fn if_ref(td: ifnet_thread_t, ifp: if_t) -> c_int;
        /// Gives a reference up. Errors: `EINVAL` for one too many of an interface that C allocated.
        fn if_rele(td: ifnet_thread_t, ifp: if_t) -> c_int;
        /// Moves an interface from wherever it is to a vnet.
        ///
        /// Errors: `EEXIST` if it is there; `ENODEV` if it is not attached; `EBUSY` if the vnet is being destroyed;
        /// `ENOMEM`.
        fn if_vmove(td: ifnet_thread_t, ifp: if_t, new_vnet: vnet_t) -> c_int;
        /// Lends the interface `name` of the current vnet to another vnet: `SIOCSIFVNET`.
        ///
        /// Errors: `ENXIO` if there is none; `EEXIST` if the name is taken there; `EBUSY`, `ENODEV`, `ENOMEM`.
        fn if_vmove_loan(td: ifnet_thread_t, name: *const c_char, target: vnet_t) -> c_int;
        /// Pulls the interface `name` of another vnet into the current one: `SIOCSIFRVNET`. Errors: as
        /// `if_vmove_loan`.
        fn if_vmove_reclaim(td: ifnet_thread_t, name: *const c_char, source: vnet_t) -> c_int;
        /// Makes an interface of a built-in kind: `epair`, `bridge0`, … Writes its name to `made`, if that is not
        /// null.
        ///
        /// Errors: `EINVAL` for an unknown kind; `EEXIST`, `ENOSPC`, `EBUSY`, `ENAMETOOLONG`, `ENOMEM`, or the
        /// driver's.
        fn if_clone_create(td: ifnet_thread_t, name: *const c_char, made: *mut c_char) -> c_int;
        /// Destroys an interface of the current vnet that was cloned. Errors: `ENXIO`, `EINVAL`, or the driver's.
        fn if_clone_destroy(td: ifnet_thread_t, name: *const c_char) -> c_int;
        /// The interface of this name in the current vnet, with a reference; null if there is none.
        fn ifunit_ref(td: ifnet_thread_t, name: *const c_char) -> if_t;
        /// The interface with this index in the current vnet, with a reference; null if there is none.
        fn ifnet_byindex_ref(td: ifnet_thread_t, index: u32) -> if_t;
        /// Writes the name of an interface. Errors: `ENAMETOOLONG` if it does not fit.
        fn if_name(td: ifnet_thread_t, ifp: if_t, buffer: *mut c_char, len: usize) -> c_int;
        /// The index of an interface; 0 for a bad handle.
        fn if_getindex(td: ifnet_thread_t, ifp: if_t) -> u32;
        /// The flags (`IFNET_IFF_…`) of an interface; 0 for a bad handle.
        fn if_getflags(td: ifnet_thread_t, ifp: if_t) -> u32;
        /// `SIOCSIFFLAGS`: sets the flags that a user may set; takes the interface up or down. Errors: `ENXIO` if it
        /// is dying.
        fn if_setflags(td: ifnet_thread_t, ifp: if_t, flags: u32) -> c_int;
        /// Sets and clears flags as the driver of the interface may: without telling anybody. `IFNET_IFF_DYING` is
        /// left alone. Errors: `EPERM` if C did not allocate it.
        fn if_setflagbits(td: ifnet_thread_t, ifp: if_t, set: u32, clear: u32) -> c_int;
        /// The MTU of an interface; 0 for a bad handle.
        fn if_getmtu(td: ifnet_thread_t, ifp: if_t) -> u32;
        /// `SIOCSIFMTU`. Errors: `EINVAL` out of range; `EOPNOTSUPP` if the driver has no ioctl; the driver's.
        fn if_setmtu(td: ifnet_thread_t, ifp: if_t, mtu: u32) -> c_int;
        /// The vnet in which an interface is; null for a bad handle. It may be another as soon as it is known.
        fn if_getvnet(td: ifnet_thread_t, ifp: if_t) -> vnet_t;
        /// A counter (`IFNET_COUNTER_…`) of an interface; 0 for a bad handle or counter.
        fn if_getcounter(td: ifnet_thread_t, ifp: if_t, counter: c_int) -> usize;
        /// Tells of a change of the link (`IFNET_LINK_STATE_…`). Errors: `EPERM` if C did not allocate the interface.
        fn if_link_state_change(td: ifnet_thread_t, ifp: if_t, state: c_int) -> c_int;
        /// The driver's own data; null for a bad handle, and if C did not allocate the interface.
        fn if_getsoftc(td: ifnet_thread_t, ifp: if_t) -> *mut c_void;
        /// Sets the driver's own data. Errors: `EPERM` if C did not allocate the interface; so all of the following.
        fn if_setsoftc(td: ifnet_thread_t, ifp: if_t, softc: *mut c_void) -> c_int;
        /// Sets the function that sends. Null: `ENXIO`, and the packet is freed.
        fn if_settransmitfn(td: ifnet_thread_t, ifp: if_t, function: if_transmit_fn_t) -> c_int;
        /// Sets the function that gets what comes in. Null: the packet is freed.
        fn if_setinputfn(td: ifnet_thread_t, ifp: if_t, function: if_input_fn_t) -> c_int;
        /// Sets the function that throws away what is queued. Null: nothing.
        fn if_setqflushfn(td: ifnet_thread_t, ifp: if_t, function: if_qflush_fn_t) -> c_int;
        /// Sets the function for requests. Null: `EOPNOTSUPP`.
        fn if_setioctlfn(td: ifnet_thread_t, ifp: if_t, function: if_ioctl_fn_t) -> c_int;
        /// Sets the function that hears of moves. Null: nothing.
        fn if_setreassignfn(td: ifnet_thread_t, ifp: if_t, function: if_reassign_fn_t) -> c_int;
        /// Makes an interface a member of a group. Errors: `EINVAL` for a name that ends in a digit; `EEXIST`,
        /// `ENXIO`, `ENOMEM`.
        fn if_addgroup(td: ifnet_thread_t, ifp: if_t, group: *const c_char) -> c_int;
        /// Ends a membership. Errors: `ENOENT` if it is no member.
        fn if_delgroup(td: ifnet_thread_t, ifp: if_t, group: *const c_char) -> c_int;
        /// Renames an interface. Errors: `EEXIST`, `EINVAL`, `ENAMETOOLONG`, `ENXIO`, `ENOMEM`.
        fn if_rename(td: ifnet_thread_t, ifp: if_t, name: *const c_char) -> c_int;
        /// Makes an Ethernet interface a member of a bridge in its vnet. Errors: `EINVAL` if `bridge` is none, or the member is
        /// not Ethernet; `EBUSY`, `EEXIST`, `ENXIO`, `ENOMEM`, or the driver's.
        fn bridge_addm(td: ifnet_thread_t, bridge: if_t, member: if_t) -> c_int;
        /// Ends a membership. Errors: `EINVAL`; `ENOENT` if it is no member.
        fn bridge_delm(td: ifnet_thread_t, bridge: if_t, member: if_t) -> c_int;
        /// Puts a `vlan` interface on a parent in its vnet, with this tag. Errors: `EINVAL` if `vlan` is none, or the tag cannot
        /// be one; `EBUSY`, `EEXIST`, `ENXIO`, `ENOMEM`, or the driver's.
        fn vlan_config(td: ifnet_thread_t, vlan: if_t, parent: if_t, tag: u16) -> c_int;
        /// Takes it off. Errors: `EINVAL`.
        fn vlan_unconfig(td: ifnet_thread_t, vlan: if_t) -> c_int;
        /// Sends a packet through an interface. The packet is gone, whatever this returns, unless `td` is no handle of
        /// the calling thread. Errors: the driver's; `ENXIO` from an interface that is dead; `ENOBUFS` in a ring of
        /// interfaces.
        fn if_transmit(td: ifnet_thread_t, ifp: if_t, m: *mut mbuf) -> c_int;
        /// A packet came in through an interface. It is gone, as with `if_transmit`.
        fn if_input(td: ifnet_thread_t, ifp: if_t, m: *mut mbuf) -> c_int;
        }
    };
}

/// What the list above becomes.
#[doc(hidden)]
#[macro_export]
macro_rules! capi_functions {
    ($platform:ty: $($(#[$doc:meta])* fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        const _: () = {
            use ::core::ffi::{c_char, c_int, c_void};
            use $crate::capi::abi::*;
            $(
                $(#[$doc])*
                // SAFETY: the name is FreeBSD's or begins with the library's, and is exported once in a program.
                #[unsafe(no_mangle)]
                unsafe extern "C" fn $name($($argument: $type),*) -> $result {
                    let function: unsafe fn($($type),*) -> $result = $crate::capi::calls::$name::<$platform>;
                    // SAFETY: what C promises of its pointers is what the function asks of its caller.
                    unsafe { function($($argument),*) }
                }
            )*
        };
    };
}
