/*
 * The C interface of ifnet: the life of network interfaces, by FreeBSD's names.
 *
 * Generated from core/src/capi by cbindgen; do not edit. A program needs this header and libifnet_capi.a, and provides a
 * struct ifnet_host.
 *
 * Handles (struct ifnet_kernel *, struct thread *, struct vnet *, if_t) are numbers in disguise: compare them and pass
 * them on, never follow them. A null, stale or foreign handle is an error, IFNET_EINVAL or IFNET_EBADF, of every function.
 * Functions that return int return 0 or one of IFNET_E...; ifnet_errno() tells why another one has failed.
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
 * An interface. A handle, not a pointer.
 */
struct ifnet;

/**
 * A kernel, between `ifnet_boot` and `ifnet_shutdown`. A handle, not a pointer.
 */
struct ifnet_kernel;

/**
 * A packet. It is the host's own: this library passes it on and gives it to `m_freem`, and never looks inside.
 */
struct mbuf;

/**
 * A thread of a kernel, between `ifnet_thread_enter` and `ifnet_thread_exit`. A handle, not a pointer.
 */
struct thread;

/**
 * A vnet, between `vnet_alloc` and `vnet_destroy`. A handle, not a pointer.
 */
struct vnet;

/**
 * What the host of a kernel provides. `curthread`, `panic` and `m_freem` are required; the others may be null. All are
 * called with `arg`. They may be called by several threads at once, must not unwind or `longjmp` out, and but for a
 * driver's own functions none may call back into this library.
 */
struct ifnet_host {
  /**
   * Passed to every function of the host.
   */
  void *arg;
  /**
   * A number, not 0, that is the calling thread's and no other running thread's. Constant on a machine with one thread.
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
   * Memory of this size, not 0, aligned to this power of two; null if there is none. With `free`, or neither. Null:
   * all memory is that of `ifnet_boot`.
   */
  void *(*alloc)(void *arg, size_t size, size_t align);
  /**
   * Takes memory of `alloc` back.
   */
  void (*free)(void *arg, void *memory, size_t size, size_t align);
  /**
   * Called in a waiting loop: lets others run. Null: the processor's hint.
   */
  void (*relax)(void *arg);
  /**
   * Sleeps on a channel until `ready(cookie)` was not 0, which is asked at the beginning and after every wakeup of the
   * channel, with no lock held that `wakeup` takes. Null: asks again and again, with `relax` in between.
   */
  void (*sleep)(void *arg, size_t channel, int (*ready)(void *cookie), void *cookie);
  /**
   * Wakes every sleeper on a channel.
   */
  void (*wakeup)(void *arg, size_t channel);
  /**
   * Something was queued that `ifnet_run_deferred` does.
   */
  void (*work_queued)(void *arg);
  /**
   * A line of the kernel's log: what happened, in the form of the recorder on a FreeBSD kernel.
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
 * An interface: good from `if_alloc` to `if_free`, and longer while a reference is held.
 */
typedef struct ifnet *if_t;

/**
 * Sends a packet, which the driver owns whatever it returns. Inside an epoch section: it may not sleep.
 */
typedef int (*if_transmit_fn_t)(struct thread *td, if_t ifp, struct mbuf *m);

/**
 * A packet came in; the function owns it. Inside an epoch section: it may not sleep.
 */
typedef void (*if_input_fn_t)(struct thread *td, if_t ifp, struct mbuf *m);

/**
 * Throws away what is queued.
 */
typedef void (*if_qflush_fn_t)(struct thread *td, if_t ifp);

/**
 * A request: one of `IFNET_SIOC…`, with the wanted MTU for `IFNET_SIOCSIFMTU`.
 */
typedef int (*if_ioctl_fn_t)(struct thread *td, if_t ifp, uint32_t command, uint32_t data);

/**
 * The interface moves to another vnet; it is on no list meanwhile.
 */
typedef void (*if_reassign_fn_t)(struct thread *td, if_t ifp, struct vnet *new_vnet);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Boots a kernel: the default vnet with its `lo0`.
 *
 * `host` is copied. `memory` holds everything if the host has no `alloc`; otherwise it may be null. It is the kernel's
 * until `ifnet_shutdown`. `config` may be null.
 *
 * Errors: `EINVAL` for null or for a host that lacks what it must have; `EAGAIN` if four kernels are running; `ENOMEM`.
 *
 * # Safety
 * Pointers that are not null point to what their types say; `memory`, to `len` bytes that are nobody else's.
 */
int ifnet_boot(const struct ifnet_host *host,
               void *memory,
               size_t len,
               const struct ifnet_config *config,
               struct ifnet_kernel **kernel);

/**
 * Takes a kernel down. All its memory is given back.
 *
 * Errors: `EINVAL`, `EBADF`; `EBUSY` if a thread is in it, a vnet besides the default one exists, or C has not freed an
 * interface or released a reference.
 */
int ifnet_shutdown(struct ifnet_kernel *kernel);

/**
 * How many bytes of the memory of `ifnet_boot` are in use; 0 with a host that has `alloc`, and for a bad handle.
 */
size_t ifnet_memory_in_use(struct ifnet_kernel *kernel);

/**
 * Makes the calling thread one of the kernel, in the default vnet. Its handle is good in no other thread.
 *
 * Errors: `EINVAL`, `EBADF`; `EAGAIN` if as many are entered as the kernel was booted for.
 *
 * # Safety
 * `td` is null or points to a place for a handle.
 */
int ifnet_thread_enter(struct ifnet_kernel *kernel,
                       struct thread **td);

/**
 * Ends what `ifnet_thread_enter` began.
 *
 * Errors: `EINVAL`, `EBADF`; `EPERM` in another thread; `EBUSY` inside an epoch section, or from a function of a driver.
 */
int ifnet_thread_exit(struct thread *td);

/**
 * The error of the thread's last call that failed: for those that return a handle or a number.
 */
int ifnet_errno(struct thread *td);

/**
 * Does deferred work: queued tasks, unregistrations, epoch callbacks. Stores in `ran`, if that is not null, whether there
 * was any. It may sleep; call it from where that is allowed, until there was none.
 *
 * # Safety
 * `ran` is null or points to an `int`.
 */
int ifnet_run_deferred(struct thread *td,
                       int *ran);

/**
 * Checks every invariant of the kernel that can be seen from outside, while no other thread is in a call.
 *
 * Errors: `EDOOFUS` if one does not hold; `text`, if it is not null, says which, if it fits.
 *
 * # Safety
 * `text` is null or points to `len` bytes.
 */
int ifnet_check(struct thread *td,
                char *text,
                size_t len);

/**
 * `NET_EPOCH_ENTER`: what is found inside lives until the end of the section. Nests; may not sleep inside.
 */
int net_epoch_enter(struct thread *td);

/**
 * `NET_EPOCH_EXIT`. Errors: `EINVAL` without a section.
 */
int net_epoch_exit(struct thread *td);

/**
 * `NET_EPOCH_WAIT`: waits for every section that is open now. Panics inside one.
 */
int net_epoch_wait(struct thread *td);

/**
 * `NET_EPOCH_DRAIN_CALLBACKS`: runs what was deferred so far. Panics inside a section.
 */
int net_epoch_drain_callbacks(struct thread *td);

/**
 * Makes a vnet with its `lo0`. Null without memory, or for a bad thread.
 */
struct vnet *vnet_alloc(struct thread *td);

/**
 * Destroys a vnet: what is lent to it returns home first, and what was cloned in it is destroyed.
 *
 * Errors: `EINVAL` for null and for the default vnet; `EBADF`; `EBUSY` if another thread destroys it.
 */
int vnet_destroy(struct thread *td,
                 struct vnet *vnet);

/**
 * The default vnet.
 */
struct vnet *vnet_default(struct thread *td);

/**
 * How many interfaces a vnet has; -1 for a bad handle.
 */
int vnet_ifcnt(struct thread *td, struct vnet *vnet);

/**
 * The vnet in which the thread works: `curvnet`.
 */
struct vnet *curvnet(struct thread *td);

/**
 * `CURVNET_SET`: works in `vnet` from now on. Gives the former one, for another call of this as `CURVNET_RESTORE`; null
 * for a bad handle.
 */
struct vnet *curvnet_set(struct thread *td,
                         struct vnet *vnet);

/**
 * Allocates an interface of this type (`IFNET_IFT_…`) in the current vnet: it has an index, and is on no list. Null
 * without memory, for an unknown type, or for a bad thread.
 */
if_t if_alloc(struct thread *td,
              uint8_t ty);

/**
 * Frees an interface that `if_alloc` gave. Its handle is stale from then on, unless references are held; the last of
 * them ends the interface, a grace period later. Waits until nobody sends or receives through the driver: its data may go.
 *
 * Errors: `EBUSY` if it is attached, or if another function of its driver is under way; `EPERM` if C did not allocate it;
 * `EBADF` for a double free.
 */
int if_free(struct thread *td,
            if_t ifp);

/**
 * Names an interface `<name><unit>`, or `<name>` with `IFNET_IF_DUNIT_NONE`. Before attach.
 *
 * Errors: `ENAMETOOLONG`; `EINVAL` for an empty name; `EBUSY` if it is attached.
 *
 * # Safety
 * `name` is null or a C string.
 */
int if_initname(struct thread *td, if_t ifp, const char *name, uint32_t unit);

/**
 * Attaches an interface to the current vnet, which becomes its home.
 *
 * Errors: `EINVAL` without a name; `EEXIST` if it is attached; `EBUSY` if the vnet is being destroyed; `ENOMEM`.
 */
int if_attach(struct thread *td,
              if_t ifp);

/**
 * The same, of an Ethernet interface with this address of six bytes, and with a tap.
 *
 * # Safety
 * `lladdr` is null or points to six bytes.
 */
int ether_ifattach(struct thread *td, if_t ifp, const uint8_t *lladdr);

/**
 * Detaches an interface; only `if_free` is left to do.
 *
 * The kernel panics with `<if>: interface is not on the active list` if it is not attached. Errors: `EPERM` if C did not
 * allocate it.
 */
int if_detach(struct thread *td,
              if_t ifp);

/**
 * The same, of what `ether_ifattach` attached.
 */
int ether_ifdetach(struct thread *td, if_t ifp);

/**
 * Takes a reference: the handle is good until the `if_rele` for it. Errors: `ENOMEM`.
 */
int if_ref(struct thread *td, if_t ifp);

/**
 * Gives a reference up. Errors: `EINVAL` for one too many of an interface that C allocated.
 */
int if_rele(struct thread *td, if_t ifp);

/**
 * Moves an interface from wherever it is to a vnet.
 *
 * Errors: `EEXIST` if it is there; `ENODEV` if it is not attached; `EBUSY` if the vnet is being destroyed; `ENOMEM`.
 */
int if_vmove(struct thread *td,
             if_t ifp,
             struct vnet *new_vnet);

/**
 * Lends the interface `name` of the current vnet to another vnet: `SIOCSIFVNET`.
 *
 * Errors: `ENXIO` if there is none; `EEXIST` if the name is taken there; `EBUSY`, `ENODEV`, `ENOMEM`.
 *
 * # Safety
 * `name` is null or a C string.
 */
int if_vmove_loan(struct thread *td,
                  const char *name,
                  struct vnet *target);

/**
 * Pulls the interface `name` of another vnet into the current one: `SIOCSIFRVNET`. Errors: as `if_vmove_loan`.
 *
 * # Safety
 * `name` is null or a C string.
 */
int if_vmove_reclaim(struct thread *td,
                     const char *name,
                     struct vnet *source);

/**
 * Makes an interface of a built-in kind: `epair`, `bridge0`, … Writes its name to `made`, if that is not null.
 *
 * Errors: `EINVAL` for an unknown kind; `EEXIST`, `ENOSPC`, `EBUSY`, `ENAMETOOLONG`, `ENOMEM`, or the driver's.
 *
 * # Safety
 * `name` is null or a C string; `made` is null or points to `IFNET_IFNAMSIZ` bytes.
 */
int if_clone_create(struct thread *td,
                    const char *name,
                    char *made);

/**
 * Destroys an interface of the current vnet that was cloned. Errors: `ENXIO`, `EINVAL`, or the driver's.
 *
 * # Safety
 * `name` is null or a C string.
 */
int if_clone_destroy(struct thread *td,
                     const char *name);

/**
 * The interface of this name in the current vnet, with a reference; null if there is none.
 *
 * # Safety
 * `name` is null or a C string.
 */
if_t ifunit_ref(struct thread *td, const char *name);

/**
 * The interface with this index in the current vnet, with a reference; null if there is none.
 */
if_t ifnet_byindex_ref(struct thread *td, uint32_t index);

/**
 * Writes the name of an interface. Errors: `ENAMETOOLONG` if it does not fit.
 *
 * # Safety
 * `buffer` is null or points to `len` bytes.
 */
int if_name(struct thread *td, if_t ifp, char *buffer, size_t len);

/**
 * The index of an interface; 0 for a bad handle.
 */
uint32_t if_getindex(struct thread *td, if_t ifp);

/**
 * The flags (`IFNET_IFF_…`) of an interface; 0 for a bad handle.
 */
uint32_t if_getflags(struct thread *td, if_t ifp);

/**
 * `SIOCSIFFLAGS`: sets the flags that a user may set; takes the interface up or down. Errors: `ENXIO` if it is dying.
 */
int if_setflags(struct thread *td,
                if_t ifp,
                uint32_t flags);

/**
 * Sets and clears flags as the driver of the interface may: without telling anybody. `IFNET_IFF_DYING` is left alone.
 * Errors: `EPERM` if C did not allocate it.
 */
int if_setflagbits(struct thread *td,
                   if_t ifp,
                   uint32_t set,
                   uint32_t clear);

/**
 * The MTU of an interface; 0 for a bad handle.
 */
uint32_t if_getmtu(struct thread *td, if_t ifp);

/**
 * `SIOCSIFMTU`. Errors: `EINVAL` out of range; `EOPNOTSUPP` if the driver has no ioctl; the driver's.
 */
int if_setmtu(struct thread *td,
              if_t ifp,
              uint32_t mtu);

/**
 * The vnet in which an interface is; null for a bad handle. It may be another as soon as it is known.
 */
struct vnet *if_getvnet(struct thread *td,
                        if_t ifp);

/**
 * A counter (`IFNET_COUNTER_…`) of an interface; 0 for a bad handle or counter.
 */
size_t if_getcounter(struct thread *td, if_t ifp, int counter);

/**
 * Tells of a change of the link (`IFNET_LINK_STATE_…`). Errors: `EPERM` if C did not allocate the interface.
 */
int if_link_state_change(struct thread *td,
                         if_t ifp,
                         int state);

/**
 * The driver's own data; null for a bad handle, and if C did not allocate the interface.
 */
void *if_getsoftc(struct thread *td, if_t ifp);

/**
 * Sets the driver's own data. Errors: `EPERM` if C did not allocate the interface; so all of the following.
 */
int if_setsoftc(struct thread *td,
                if_t ifp,
                void *softc);

/**
 * Sets the function that sends. Null: `ENXIO`, and the packet is freed.
 */
int if_settransmitfn(struct thread *td, if_t ifp, if_transmit_fn_t function);

/**
 * Sets the function that gets what comes in. Null: the packet is freed.
 */
int if_setinputfn(struct thread *td, if_t ifp, if_input_fn_t function);

/**
 * Sets the function that throws away what is queued. Null: nothing.
 */
int if_setqflushfn(struct thread *td, if_t ifp, if_qflush_fn_t function);

/**
 * Sets the function for requests. Null: `EOPNOTSUPP`.
 */
int if_setioctlfn(struct thread *td, if_t ifp, if_ioctl_fn_t function);

/**
 * Sets the function that hears of moves. Null: nothing.
 */
int if_setreassignfn(struct thread *td, if_t ifp, if_reassign_fn_t function);

/**
 * Makes an interface a member of a group. Errors: `EINVAL` for a name that ends in a digit; `EEXIST`, `ENXIO`, `ENOMEM`.
 *
 * # Safety
 * `group` is null or a C string.
 */
int if_addgroup(struct thread *td,
                if_t ifp,
                const char *group);

/**
 * Ends a membership. Errors: `ENOENT` if it is no member.
 *
 * # Safety
 * `group` is null or a C string.
 */
int if_delgroup(struct thread *td, if_t ifp, const char *group);

/**
 * Renames an interface. Errors: `EEXIST`, `EINVAL`, `ENAMETOOLONG`, `ENXIO`, `ENOMEM`.
 *
 * # Safety
 * `name` is null or a C string.
 */
int if_rename(struct thread *td, if_t ifp, const char *name);

/**
 * Sends a packet through an interface. The packet is gone, whatever this returns, unless `td` is no handle of the calling
 * thread. Errors: the driver's; `ENXIO` from an interface that is dead; `ENOBUFS` in a ring of interfaces.
 */
int if_transmit(struct thread *td,
                if_t ifp,
                struct mbuf *m);

/**
 * A packet came in through an interface. It is gone, as with `if_transmit`.
 */
int if_input(struct thread *td, if_t ifp, struct mbuf *m);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* IFNET_H */
