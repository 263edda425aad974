/*
 * The C interface of ifnet: the life of network interfaces, by FreeBSD's names.
 *
 * Generated from core/src/capi by cbindgen; do not edit. A kernel in C links libifnet_capi.a and provides a struct
 * ifnet_host. A driver in C runs in such a kernel, or in one in Rust, which exports the same functions.
 *
 * Handles (ifnet_kernel_t, ifnet_thread_t, vnet_t, if_t) are numbers that are never given twice. Zero is none. A null, stale
 * or foreign handle is an error, IFNET_EINVAL or IFNET_EBADF, of every function. Pointers that are not null must point to
 * what is said here. Functions that return int return 0 or one of IFNET_E...; ifnet_errno() tells why another one has failed.
 */

#ifndef IFNET_H
#define IFNET_H

#include <stddef.h>
#include <stdint.h>

/**
 * Size of the buffer that any name of an interface or a group fits in, with its NUL.
 */
#define IFNET_IFNAMSIZ 16

/**
 * For `if_initname`: a name without a number.
 */
#define IFNET_IF_DUNIT_NONE 4294967295

/**
 * `if_type` of anything else.
 */
#define IFNET_IFT_OTHER 1

/**
 * `if_type` of Ethernet.
 */
#define IFNET_IFT_ETHER 6

/**
 * `if_type` of point-to-point links.
 */
#define IFNET_IFT_PPP 23

/**
 * `if_type` of loopbacks.
 */
#define IFNET_IFT_LOOP 24

/**
 * Up.
 */
#define IFNET_IFF_UP 1

/**
 * Broadcast address valid.
 */
#define IFNET_IFF_BROADCAST 2

/**
 * Loopback.
 */
#define IFNET_IFF_LOOPBACK 8

/**
 * Point-to-point link.
 */
#define IFNET_IFF_POINTOPOINT 16

/**
 * The driver runs.
 */
#define IFNET_IFF_DRV_RUNNING 64

/**
 * Receives all packets.
 */
#define IFNET_IFF_PROMISC 256

/**
 * Cannot hear its own transmissions.
 */
#define IFNET_IFF_SIMPLEX 2048

/**
 * Supports multicast.
 */
#define IFNET_IFF_MULTICAST 32768

/**
 * Detached or freed, or about to be.
 */
#define IFNET_IFF_DYING 2097152

/**
 * The flags have changed.
 */
#define IFNET_SIOCSIFFLAGS 16

/**
 * The multicast filter has grown.
 */
#define IFNET_SIOCADDMULTI 49

/**
 * The multicast filter has shrunk.
 */
#define IFNET_SIOCDELMULTI 50

/**
 * The wanted MTU.
 */
#define IFNET_SIOCSIFMTU 52

/**
 * Link state: nobody knows.
 */
#define IFNET_LINK_STATE_UNKNOWN 0

/**
 * Link state: down.
 */
#define IFNET_LINK_STATE_DOWN 1

/**
 * Link state: up.
 */
#define IFNET_LINK_STATE_UP 2

/**
 * Packets received, for `if_getcounter`.
 */
#define IFNET_COUNTER_IPACKETS 0

/**
 * Input errors.
 */
#define IFNET_COUNTER_IERRORS 1

/**
 * Packets sent.
 */
#define IFNET_COUNTER_OPACKETS 2

/**
 * Output errors.
 */
#define IFNET_COUNTER_OERRORS 3

/**
 * Not the owner, or not the thread that entered.
 */
#define IFNET_EPERM 1

/**
 * No such file or directory.
 */
#define IFNET_ENOENT 2

/**
 * Device not configured.
 */
#define IFNET_ENXIO 6

/**
 * A handle that is stale, of another kind, or of another kernel.
 */
#define IFNET_EBADF 9

/**
 * Cannot allocate memory.
 */
#define IFNET_ENOMEM 12

/**
 * In use.
 */
#define IFNET_EBUSY 16

/**
 * Exists.
 */
#define IFNET_EEXIST 17

/**
 * Operation not supported by device.
 */
#define IFNET_ENODEV 19

/**
 * Invalid argument; a null pointer.
 */
#define IFNET_EINVAL 22

/**
 * No space left on device.
 */
#define IFNET_ENOSPC 28

/**
 * Too many links.
 */
#define IFNET_EMLINK 31

/**
 * Resource temporarily unavailable.
 */
#define IFNET_EAGAIN 35

/**
 * Operation not supported.
 */
#define IFNET_EOPNOTSUPP 45

/**
 * Network is down.
 */
#define IFNET_ENETDOWN 50

/**
 * No buffer space available.
 */
#define IFNET_ENOBUFS 55

/**
 * Name too long.
 */
#define IFNET_ENAMETOOLONG 63

/**
 * Programming error: an invariant of the kernel does not hold.
 */
#define IFNET_EDOOFUS 88

/**
 * A packet. It is the host's own: this library passes it on and gives it to `m_freem`, and never looks inside.
 */
struct mbuf;

/**
 * What a frame says of itself: see `frame_header` of `struct ifnet_host`.
 */
struct ifnet_frame {
  /**
   * The link-level address that the frame is for.
   */
  uint8_t destination[6];
  /**
   * The link-level address that it comes from.
   */
  uint8_t source[6];
  /**
   * 4 or 6, if it is for a network address; 0 for any other protocol, and if a VLAN header comes first.
   */
  uint8_t inet_version;
  /**
   * The destination of an IP packet or the target of an ARP one, as on the wire: the first 4 bytes, or all.
   */
  uint8_t inet_destination[16];
};

/**
 * What the host of a kernel provides. `curthread`, `panic` and `m_freem` are required; the others may be null, some of
 * them only together: `ifnet_boot` says `EINVAL`. All are called with `arg`. They may be called by several threads at
 * once, must not unwind or `longjmp` out, and but for a driver's own functions none may call back into this library.
 */
struct ifnet_host {
  /**
   * Passed to every function of the host.
   */
  void *arg;
  /**
   * A number, not 0, that is the calling thread's and no other running thread's. Constant on a machine with one thread.
   * An interrupt handler that calls the library is a thread of its own: not that which it interrupted.
   */
  size_t (*curthread)(void *arg);
  /**
   * The kernel panics. It must not return: it stops the machine, ends the process, or stops the thread for good. The
   * kernel must not be used after. If it does return, the calling thread spins for ever.
   */
  void (*panic)(void *arg, const char *message);
  /**
   * Frees a packet.
   */
  void (*m_freem)(void *arg, struct mbuf *m);
  /**
   * A copy of a packet, for a bridge; null if there is no memory. Null: packets cannot be copied.
   */
  struct mbuf *(*m_copypacket)(void *arg, struct mbuf *m);
  /**
   * Reads the header of a frame into `frame`, which is all zeros; not 0 if it has one. Null: packets are opaque. A bridge
   * learns nothing and floods then, and an ipvlan or macvlan gives each frame to its first upper.
   */
  int (*frame_header)(void *arg, struct mbuf *m, struct ifnet_frame *frame);
  /**
   * Puts an 802.1Q header with this tag on a frame, outside of any that it has; may put another packet, never null, in
   * the place of `*m`. Not 0 if that was possible. With `vlan_decap`, or neither. Null: nothing leaves through a VLAN.
   */
  int (*vlan_encap)(void *arg, struct mbuf **m, uint16_t tag);
  /**
   * Takes the outermost 802.1Q header off, likewise. Gives the tag, or -1 if there is none.
   */
  int (*vlan_decap)(void *arg, struct mbuf **m);
  /**
   * Memory of this size, not 0, aligned to this power of two; null if there is none. With `free`, or neither. Called with
   * a lock held. Null: all memory is that of `ifnet_boot`.
   */
  void *(*alloc)(void *arg, size_t size, size_t align);
  /**
   * Takes memory of `alloc` back.
   */
  void (*free)(void *arg, void *memory, size_t size, size_t align);
  /**
   * Acquires a short lock: it may spin or block, and may not fail. The lock is the word at `lock`, which begins as zero
   * and is this function's to use; while nobody holds or wants the lock, the word may move. Locks are not recursive, are
   * never held over a `sleep`, and are released in any order. With `mtx_unlock`, or neither. Kernels that run at a time
   * have the same functions for locks, and the same `arg`. Null: the library spins.
   */
  void (*mtx_lock)(void *arg, size_t *lock);
  /**
   * Releases it.
   */
  void (*mtx_unlock)(void *arg, size_t *lock);
  /**
   * A lock that nobody holds goes away: whatever its word stands for may be given back. Only with `mtx_lock`.
   */
  void (*mtx_destroy)(void *arg, size_t *lock);
  /**
   * Not 0 in an interrupt handler: what may sleep panics there. Only with `mtx_lock`, which then masks interrupts until
   * the last `mtx_unlock`; `alloc` and `free` do so, too. Null: handlers do not call the library.
   */
  int (*in_interrupt)(void *arg);
  /**
   * Called in a waiting loop: lets others run. Null: the processor's hint.
   */
  void (*relax)(void *arg);
  /**
   * Sleeps on a channel until `ready(cookie)` was not 0, which is asked at the beginning, after every wakeup of the
   * channel, and from time to time (a tick of the timer: readers that leave a section wake nobody), with no lock held
   * that `wakeup` takes. With `wakeup`, or neither. Null: asks again and again, with `relax` in between.
   */
  void (*sleep)(void *arg, size_t channel, int (*ready)(void *cookie), void *cookie);
  /**
   * Wakes every sleeper on a channel.
   */
  void (*wakeup)(void *arg, size_t channel);
  /**
   * Something was queued that `ifnet_run_deferred` does. May be called with a lock held, and in a handler: it sets a flag
   * or wakes a worker. Null: somebody calls `ifnet_run_deferred` from time to time.
   */
  void (*work_queued)(void *arg);
  /**
   * A line of the kernel's log: what happened, in the form of the recorder on a FreeBSD kernel. Null: no log.
   */
  void (*trace)(void *arg, uint32_t thread, const char *line);
};

/**
 * How a kernel is booted. All zeros is the default.
 */
struct ifnet_config {
  /**
   * How many threads may be entered at a time; at most 1024. 0: 16.
   */
  uint32_t threads;
  /**
   * Not 0: queued tasks run before the call that queued them returns. 0: `ifnet_run_deferred` runs them.
   */
  uint32_t immediate_tasks;
};

/**
 * A kernel, between `ifnet_boot` and `ifnet_shutdown`. Zero is none.
 */
typedef uint64_t ifnet_kernel_t;

/**
 * A thread of a kernel, between `ifnet_thread_enter` and `ifnet_thread_exit`. Zero is none.
 */
typedef uint64_t ifnet_thread_t;

/**
 * A vnet, between `vnet_alloc` and `vnet_destroy`. Zero is none.
 */
typedef uint64_t vnet_t;

/**
 * An interface: good from `if_alloc` to `if_free`, or as long as a reference is held. Zero is none.
 */
typedef uint64_t if_t;

/**
 * Sends a packet, which the driver owns whatever it returns. Inside an epoch section: it may not sleep.
 */
typedef int (*if_transmit_fn_t)(ifnet_thread_t td, if_t ifp, struct mbuf *m);

/**
 * A packet came in; the function owns it. Inside an epoch section: it may not sleep.
 */
typedef void (*if_input_fn_t)(ifnet_thread_t td, if_t ifp, struct mbuf *m);

/**
 * Throws away what is queued.
 */
typedef void (*if_qflush_fn_t)(ifnet_thread_t td, if_t ifp);

/**
 * A request: one of `IFNET_SIOC…`, with the wanted MTU for `IFNET_SIOCSIFMTU`.
 */
typedef int (*if_ioctl_fn_t)(ifnet_thread_t td, if_t ifp, uint32_t command, uint32_t data);

/**
 * The interface moves to another vnet; it is on no list meanwhile.
 */
typedef void (*if_reassign_fn_t)(ifnet_thread_t td, if_t ifp, vnet_t new_vnet);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Boots a kernel: the default vnet with its `lo0`. Only of libifnet_capi.a.
 *
 * `host` is copied. `memory` holds everything if the host has no `alloc`; otherwise it may be null. It is the kernel's
 * until `ifnet_shutdown`. `config` may be null.
 *
 * Errors: `EINVAL` for null, for a host that lacks what it must have, and for one whose locks are not those of a kernel
 * that is up; `EAGAIN` if four kernels are running; `ENOMEM`.
 */
int ifnet_boot(const struct ifnet_host *host,
               void *memory,
               size_t len,
               const struct ifnet_config *config,
               ifnet_kernel_t *kernel);

/**
 * Takes a kernel down. All its memory is given back. Only of libifnet_capi.a.
 *
 * Errors: `EINVAL`, `EBADF`; `EBUSY` if a thread is in it, a vnet besides the default one exists, or C has not freed an
 * interface or released a reference.
 */
int ifnet_shutdown(ifnet_kernel_t kernel);

/**
 * How many bytes of the memory of `ifnet_boot` are in use; 0 with a host that has `alloc`, and for a bad handle. Only of
 * libifnet_capi.a.
 */
size_t ifnet_memory_in_use(ifnet_kernel_t kernel);

/**
 * Makes the calling thread one of the kernel, in the default vnet. Its handle is good in no other thread.
 *
 * Errors: `EINVAL`, `EBADF`; `EAGAIN` if as many are entered as the kernel was booted for.
 */
int ifnet_thread_enter(ifnet_kernel_t kernel,
                       ifnet_thread_t *td);

/**
 * Ends what `ifnet_thread_enter` began.
 *
 * Errors: `EINVAL`, `EBADF`; `EPERM` in another thread; `EBUSY` inside an epoch section, or from a function
 * of a driver.
 */
int ifnet_thread_exit(ifnet_thread_t td);

/**
 * The error of the thread's last call that failed: for those that return a handle or a number.
 */
int ifnet_errno(ifnet_thread_t td);

/**
 * Does deferred work: queued tasks, unregistrations, epoch callbacks. Stores in `ran`, if that is not null,
 * whether there was any. It may sleep; call it from where that is allowed, until there was none.
 */
int ifnet_run_deferred(ifnet_thread_t td,
                       int *ran);

/**
 * Checks every invariant of the kernel that can be seen from outside, while no other thread is in a call.
 *
 * Errors: `EDOOFUS` if one does not hold; `text`, if it is not null, says which, if it fits.
 */
int ifnet_check(ifnet_thread_t td,
                char *text,
                size_t len);

/**
 * `NET_EPOCH_ENTER`: what is found inside lives until the end of the section. Nests; may not sleep inside.
 */
int net_epoch_enter(ifnet_thread_t td);

/**
 * `NET_EPOCH_EXIT`. Errors: `EINVAL` without a section.
 */
int net_epoch_exit(ifnet_thread_t td);

/**
 * `NET_EPOCH_WAIT`: waits for every section that is open now. Panics inside one.
 */
int net_epoch_wait(ifnet_thread_t td);

/**
 * `NET_EPOCH_DRAIN_CALLBACKS`: runs what was deferred so far. Panics inside a section.
 */
int net_epoch_drain_callbacks(ifnet_thread_t td);

/**
 * Makes a vnet with its `lo0`. Null without memory, or for a bad thread.
 */
vnet_t vnet_alloc(ifnet_thread_t td);

/**
 * Destroys a vnet: what is lent to it returns home first, and what was cloned in it is destroyed.
 *
 * Errors: `EINVAL` for null and for the default vnet; `EBADF`; `EBUSY` if another thread destroys it.
 */
int vnet_destroy(ifnet_thread_t td,
                 vnet_t vnet);

/**
 * The default vnet.
 */
vnet_t vnet_default(ifnet_thread_t td);

/**
 * How many interfaces a vnet has; -1 for a bad handle.
 */
int vnet_ifcnt(ifnet_thread_t td, vnet_t vnet);

/**
 * The vnet in which the thread works: `curvnet`.
 */
vnet_t curvnet(ifnet_thread_t td);

/**
 * `CURVNET_SET`: works in `vnet` from now on. Gives the former one, for another call of this as
 * `CURVNET_RESTORE`; null for a bad handle.
 */
vnet_t curvnet_set(ifnet_thread_t td, vnet_t vnet);

/**
 * Allocates an interface of this type (`IFNET_IFT_…`) in the current vnet: it has an index, and is on no
 * list. Null without memory, for an unknown type, or for a bad thread.
 */
if_t if_alloc(ifnet_thread_t td,
              uint8_t ty);

/**
 * Frees an interface that `if_alloc` gave. Its handle is stale from then on, unless references are held; the
 * last of them ends the interface, a grace period later. Waits until nobody sends or receives through the
 * driver: its data may go.
 *
 * Errors: `EBUSY` if it is attached, or if another function of its driver is under way; `EPERM` if C did not
 * allocate it; `EBADF` for a double free.
 */
int if_free(ifnet_thread_t td,
            if_t ifp);

/**
 * Names an interface `<name><unit>`, or `<name>` with `IFNET_IF_DUNIT_NONE`. Before attach.
 *
 * Errors: `ENAMETOOLONG`; `EINVAL` for an empty name; `EBUSY` if it is attached.
 */
int if_initname(ifnet_thread_t td, if_t ifp, const char *name, uint32_t unit);

/**
 * Attaches an interface to the current vnet, which becomes its home.
 *
 * Errors: `EINVAL` without a name; `EEXIST` if it is attached; `EBUSY` if the vnet is being destroyed;
 * `ENOMEM`.
 */
int if_attach(ifnet_thread_t td,
              if_t ifp);

/**
 * The same, of an Ethernet interface with this address of six bytes, and with a tap.
 */
int ether_ifattach(ifnet_thread_t td, if_t ifp, const uint8_t *lladdr);

/**
 * Detaches an interface; only `if_free` is left to do.
 *
 * The kernel panics with `<if>: interface is not on the active list` if it is not attached. Errors: `EPERM`
 * if C did not allocate it.
 */
int if_detach(ifnet_thread_t td,
              if_t ifp);

/**
 * The same, of what `ether_ifattach` attached.
 */
int ether_ifdetach(ifnet_thread_t td, if_t ifp);

/**
 * Takes a reference: the handle is good until the `if_rele` for it. Errors: `ENOMEM`.
 */
int if_ref(ifnet_thread_t td, if_t ifp);

/**
 * Gives a reference up. Errors: `EINVAL` for one too many of an interface that C allocated.
 */
int if_rele(ifnet_thread_t td, if_t ifp);

/**
 * Moves an interface from wherever it is to a vnet.
 *
 * Errors: `EEXIST` if it is there; `ENODEV` if it is not attached; `EBUSY` if the vnet is being destroyed;
 * `ENOMEM`.
 */
int if_vmove(ifnet_thread_t td,
             if_t ifp,
             vnet_t new_vnet);

/**
 * Lends the interface `name` of the current vnet to another vnet: `SIOCSIFVNET`.
 *
 * Errors: `ENXIO` if there is none; `EEXIST` if the name is taken there; `EBUSY`, `ENODEV`, `ENOMEM`.
 */
int if_vmove_loan(ifnet_thread_t td,
                  const char *name,
                  vnet_t target);

/**
 * Pulls the interface `name` of another vnet into the current one: `SIOCSIFRVNET`. Errors: as
 * `if_vmove_loan`.
 */
int if_vmove_reclaim(ifnet_thread_t td, const char *name, vnet_t source);

/**
 * Makes an interface of a built-in kind: `epair`, `bridge0`, … Writes its name to `made`, if that is not
 * null.
 *
 * Errors: `EINVAL` for an unknown kind; `EEXIST`, `ENOSPC`, `EBUSY`, `ENAMETOOLONG`, `ENOMEM`, or the
 * driver's.
 */
int if_clone_create(ifnet_thread_t td,
                    const char *name,
                    char *made);

/**
 * Destroys an interface of the current vnet that was cloned. Errors: `ENXIO`, `EINVAL`, or the driver's.
 */
int if_clone_destroy(ifnet_thread_t td,
                     const char *name);

/**
 * The interface of this name in the current vnet, with a reference; null if there is none.
 */
if_t ifunit_ref(ifnet_thread_t td, const char *name);

/**
 * The interface with this index in the current vnet, with a reference; null if there is none.
 */
if_t ifnet_byindex_ref(ifnet_thread_t td, uint32_t index);

/**
 * Writes the name of an interface. Errors: `ENAMETOOLONG` if it does not fit.
 */
int if_name(ifnet_thread_t td, if_t ifp, char *buffer, size_t len);

/**
 * The index of an interface; 0 for a bad handle.
 */
uint32_t if_getindex(ifnet_thread_t td, if_t ifp);

/**
 * The flags (`IFNET_IFF_…`) of an interface; 0 for a bad handle.
 */
uint32_t if_getflags(ifnet_thread_t td, if_t ifp);

/**
 * `SIOCSIFFLAGS`: sets the flags that a user may set; takes the interface up or down. Errors: `ENXIO` if it
 * is dying.
 */
int if_setflags(ifnet_thread_t td,
                if_t ifp,
                uint32_t flags);

/**
 * Sets and clears flags as the driver of the interface may: without telling anybody. `IFNET_IFF_DYING` is
 * left alone. Errors: `EPERM` if C did not allocate it.
 */
int if_setflagbits(ifnet_thread_t td,
                   if_t ifp,
                   uint32_t set,
                   uint32_t clear);

/**
 * The MTU of an interface; 0 for a bad handle.
 */
uint32_t if_getmtu(ifnet_thread_t td, if_t ifp);

/**
 * `SIOCSIFMTU`. Errors: `EINVAL` out of range; `EOPNOTSUPP` if the driver has no ioctl; the driver's.
 */
int if_setmtu(ifnet_thread_t td,
              if_t ifp,
              uint32_t mtu);

/**
 * The vnet in which an interface is; null for a bad handle. It may be another as soon as it is known.
 */
vnet_t if_getvnet(ifnet_thread_t td,
                  if_t ifp);

/**
 * A counter (`IFNET_COUNTER_…`) of an interface; 0 for a bad handle or counter.
 */
size_t if_getcounter(ifnet_thread_t td, if_t ifp, int counter);

/**
 * Tells of a change of the link (`IFNET_LINK_STATE_…`). Errors: `EPERM` if C did not allocate the interface.
 */
int if_link_state_change(ifnet_thread_t td,
                         if_t ifp,
                         int state);

/**
 * The driver's own data; null for a bad handle, and if C did not allocate the interface.
 */
void *if_getsoftc(ifnet_thread_t td, if_t ifp);

/**
 * Sets the driver's own data. Errors: `EPERM` if C did not allocate the interface; so all of the following.
 */
int if_setsoftc(ifnet_thread_t td,
                if_t ifp,
                void *softc);

/**
 * Sets the function that sends. Null: `ENXIO`, and the packet is freed.
 */
int if_settransmitfn(ifnet_thread_t td, if_t ifp, if_transmit_fn_t function);

/**
 * Sets the function that gets what comes in. Null: the packet is freed.
 */
int if_setinputfn(ifnet_thread_t td, if_t ifp, if_input_fn_t function);

/**
 * Sets the function that throws away what is queued. Null: nothing.
 */
int if_setqflushfn(ifnet_thread_t td, if_t ifp, if_qflush_fn_t function);

/**
 * Sets the function for requests. Null: `EOPNOTSUPP`.
 */
int if_setioctlfn(ifnet_thread_t td, if_t ifp, if_ioctl_fn_t function);

/**
 * Sets the function that hears of moves. Null: nothing.
 */
int if_setreassignfn(ifnet_thread_t td, if_t ifp, if_reassign_fn_t function);

/**
 * Makes an interface a member of a group. Errors: `EINVAL` for a name that ends in a digit; `EEXIST`,
 * `ENXIO`, `ENOMEM`.
 */
int if_addgroup(ifnet_thread_t td,
                if_t ifp,
                const char *group);

/**
 * Ends a membership. Errors: `ENOENT` if it is no member.
 */
int if_delgroup(ifnet_thread_t td, if_t ifp, const char *group);

/**
 * Renames an interface. Errors: `EEXIST`, `EINVAL`, `ENAMETOOLONG`, `ENXIO`, `ENOMEM`.
 */
int if_rename(ifnet_thread_t td, if_t ifp, const char *name);

/**
 * Makes an Ethernet interface a member of a bridge in its vnet. Errors: `EINVAL` if `bridge` is none, or the member is
 * not Ethernet; `EBUSY`, `EEXIST`, `ENXIO`, `ENOMEM`, or the driver's.
 */
int bridge_addm(ifnet_thread_t td,
                if_t bridge,
                if_t member);

/**
 * Ends a membership. Errors: `EINVAL`; `ENOENT` if it is no member.
 */
int bridge_delm(ifnet_thread_t td, if_t bridge, if_t member);

/**
 * Puts a `vlan` interface on a parent in its vnet, with this tag. Errors: `EINVAL` if `vlan` is none, or the tag cannot
 * be one; `EBUSY`, `EEXIST`, `ENXIO`, `ENOMEM`, or the driver's.
 */
int vlan_config(ifnet_thread_t td,
                if_t vlan,
                if_t parent,
                uint16_t tag);

/**
 * Takes it off. Errors: `EINVAL`.
 */
int vlan_unconfig(ifnet_thread_t td, if_t vlan);

/**
 * Sends a packet through an interface. The packet is gone, whatever this returns, unless `td` is no handle of
 * the calling thread. Errors: the driver's; `ENXIO` from an interface that is dead; `ENOBUFS` in a ring of
 * interfaces.
 */
int if_transmit(ifnet_thread_t td,
                if_t ifp,
                struct mbuf *m);

/**
 * A packet came in through an interface. It is gone, as with `if_transmit`.
 */
int if_input(ifnet_thread_t td, if_t ifp, struct mbuf *m);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* IFNET_H */
