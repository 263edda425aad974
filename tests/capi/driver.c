/*
 * A driver for a device that sends back what it is given, and its tests.
 */
#include "driver.h"

struct softc {
	const struct driver_env *env;
	if_t ifp;
	unsigned sent, received, flushed, moved, mtu;
	int quit_in_transmit;	/* what ifnet_thread_exit said inside a call */
};

/* A driver is called on several processors at a time, and in interrupt handlers. */
#define COUNT(counter) ((void)__atomic_fetch_add(&(counter), 1, __ATOMIC_RELAXED))
#define COUNTED(counter) __atomic_load_n(&(counter), __ATOMIC_RELAXED)

static void
softc_init(struct softc *sc, const struct driver_env *env)
{
	sc->env = env;
	sc->ifp = 0;
	sc->sent = sc->received = sc->flushed = sc->moved = sc->mtu = 0;
	sc->quit_in_transmit = 0;
}

static int
echo_transmit(ifnet_thread_t td, if_t ifp, struct mbuf *m)
{
	struct softc *sc = (struct softc *)if_getsoftc(td, ifp);

	COUNT(sc->sent);
	sc->quit_in_transmit = ifnet_thread_exit(td);
	return if_input(td, ifp, m);
}

static void
echo_input(ifnet_thread_t td, if_t ifp, struct mbuf *m)
{
	struct softc *sc = (struct softc *)if_getsoftc(td, ifp);

	COUNT(sc->received);
	sc->env->m_freem(sc->env->arg, m);
}

static void
echo_qflush(ifnet_thread_t td, if_t ifp)
{
	((struct softc *)if_getsoftc(td, ifp))->flushed++;
}

static int
echo_ioctl(ifnet_thread_t td, if_t ifp, uint32_t command, uint32_t data)
{
	if (command == IFNET_SIOCSIFMTU) {
		if (data > 9000)
			return IFNET_EINVAL;
		((struct softc *)if_getsoftc(td, ifp))->mtu = data;
	}
	return 0;
}

static void
echo_reassign(ifnet_thread_t td, if_t ifp, vnet_t new_vnet)
{
	(void)new_vnet;
	((struct softc *)if_getsoftc(td, ifp))->moved++;
}

static const uint8_t lladdr[6] = { 2, 0, 0, 0, 0, 1 };

/* Attaches the device: zero, or its interface. */
static if_t
echo_attach(ifnet_thread_t td, struct softc *sc, uint32_t unit)
{
	if_t ifp = if_alloc(td, IFNET_IFT_ETHER);

	if (ifp == 0)
		return 0;
	sc->ifp = ifp;
	if (if_initname(td, ifp, "echo", unit) != 0 || if_setsoftc(td, ifp, sc) != 0 ||
	    if_setflagbits(td, ifp, IFNET_IFF_BROADCAST | IFNET_IFF_SIMPLEX | IFNET_IFF_MULTICAST, 0) != 0 ||
	    if_settransmitfn(td, ifp, echo_transmit) != 0 || if_setinputfn(td, ifp, echo_input) != 0 ||
	    if_setqflushfn(td, ifp, echo_qflush) != 0 || if_setioctlfn(td, ifp, echo_ioctl) != 0 ||
	    if_setreassignfn(td, ifp, echo_reassign) != 0 || ether_ifattach(td, ifp, lladdr) != 0) {
		(void)if_free(td, ifp);
		return 0;
	}
	return ifp;
}

/* Makes the line of the first failed check the result. */
#define CHECK(condition) do { if (!(condition)) return __LINE__; } while (0)

/* Lets everything happen that was deferred. */
static int
settle(ifnet_thread_t td)
{
	int error, ran = 1;

	while (ran)
		if ((error = ifnet_run_deferred(td, &ran)) != 0)
			return error;
	return net_epoch_drain_callbacks(td);
}

/* A packet goes out and comes back. */
static int
ping(ifnet_thread_t td, struct softc *sc, if_t ifp)
{
	unsigned sent = COUNTED(sc->sent), received = COUNTED(sc->received);
	struct mbuf *m = sc->env->m_get(sc->env->arg);

	CHECK(m != NULL);
	CHECK(if_transmit(td, ifp, m) == 0);
	/* More, if others have found the interface. */
	CHECK(COUNTED(sc->sent) > sent && COUNTED(sc->received) > received);
	CHECK(sc->quit_in_transmit == IFNET_EBUSY);
	return 0;
}

/* From attach to free, with moves, packets and groups. */
static int
life(ifnet_thread_t td, const struct driver_env *env, uint32_t unit, int alone)
{
	struct softc sc;
	vnet_t home, jail, former;
	char name[IFNET_IFNAMSIZ], text[128];
	uint32_t index;
	if_t ifp, found;
	int line;

	softc_init(&sc, env);
	CHECK((home = vnet_default(td)) != 0);
	CHECK(curvnet(td) == home);
	CHECK((jail = vnet_alloc(td)) != 0);
	CHECK(jail != home);
	CHECK((ifp = echo_attach(td, &sc, unit)) != 0);
	CHECK((index = if_getindex(td, ifp)) != 0);
	CHECK(if_name(td, ifp, name, sizeof(name)) == 0);
	CHECK(name[0] == 'e' && name[4] != '\0');
	CHECK(if_getvnet(td, ifp) == home);
	CHECK(if_getflags(td, ifp) == (IFNET_IFF_BROADCAST | IFNET_IFF_SIMPLEX | IFNET_IFF_MULTICAST));
	CHECK(if_getmtu(td, ifp) == 1500);

	/* The same interface has the same handle, however it was found. */
	CHECK((found = ifunit_ref(td, name)) == ifp);
	CHECK(ifnet_byindex_ref(td, index) == ifp);
	CHECK(if_rele(td, found) == 0);
	CHECK(if_rele(td, found) == 0);

	CHECK(if_setflags(td, ifp, IFNET_IFF_UP) == 0);
	CHECK((if_getflags(td, ifp) & IFNET_IFF_UP) != 0);
	CHECK(if_setmtu(td, ifp, 9000) == 0 && sc.mtu == 9000 && if_getmtu(td, ifp) == 9000);
	CHECK(if_setmtu(td, ifp, 9001) == IFNET_EINVAL && if_getmtu(td, ifp) == 9000);
	CHECK(if_addgroup(td, ifp, "uplink") == 0);
	CHECK(if_addgroup(td, ifp, "uplink") == IFNET_EEXIST);
	CHECK(if_delgroup(td, ifp, "uplink") == 0);
	CHECK(if_delgroup(td, ifp, "uplink") == IFNET_ENOENT);
	CHECK(if_link_state_change(td, ifp, IFNET_LINK_STATE_UP) == 0);
	CHECK(net_epoch_enter(td) == 0 && net_epoch_enter(td) == 0);
	if ((line = ping(td, &sc, ifp)) != 0)
		return line;
	CHECK(net_epoch_exit(td) == 0 && net_epoch_exit(td) == 0);
	CHECK(if_getcounter(td, ifp, IFNET_COUNTER_OPACKETS) >= 1);

	/* There and back, by the driver and by a jail's manager. The index stays. */
	CHECK(if_vmove(td, ifp, jail) == 0);
	CHECK(if_getvnet(td, ifp) == jail && if_getindex(td, ifp) == index && sc.moved == 1);
	CHECK(if_vmove(td, ifp, jail) == IFNET_EEXIST);
	CHECK(ifunit_ref(td, name) == 0 && ifnet_errno(td) == IFNET_ENXIO);
	CHECK((former = curvnet_set(td, jail)) == home);
	CHECK(ifunit_ref(td, name) == ifp);
	CHECK(if_rele(td, ifp) == 0);
	/* A move takes it down, and what is down receives nothing. */
	CHECK(if_setflags(td, ifp, IFNET_IFF_UP) == 0);
	if ((line = ping(td, &sc, ifp)) != 0)
		return line;
	CHECK(curvnet_set(td, former) == jail);
	CHECK(if_vmove_reclaim(td, name, jail) == 0);
	CHECK(if_vmove_loan(td, name, jail) == 0);
	CHECK(if_getvnet(td, ifp) == jail && sc.moved == 3);
	if (alone) {
		CHECK(vnet_ifcnt(td, jail) == 2);
		CHECK(ifnet_check(td, text, sizeof(text)) == 0);
	}

	/* What is lent returns home when the vnet dies. */
	CHECK(vnet_destroy(td, jail) == 0);
	CHECK(if_getvnet(td, ifp) == home && sc.moved == 4);
	CHECK(vnet_destroy(td, jail) == IFNET_EBADF);

	/* A reference keeps the handle, and nothing else. */
	CHECK(if_ref(td, ifp) == 0);
	ether_ifdetach(td, ifp);
	CHECK(sc.flushed > 0);
	CHECK(if_transmit(td, ifp, env->m_get(env->arg)) == IFNET_ENXIO);
	CHECK(if_free(td, ifp) == 0);
	CHECK((if_getflags(td, ifp) & IFNET_IFF_DYING) != 0);
	CHECK(if_free(td, ifp) == IFNET_EPERM);
	CHECK(if_rele(td, ifp) == 0);
	CHECK(if_rele(td, ifp) == IFNET_EBADF);
	return settle(td) == 0 ? 0 : __LINE__;
}

/* A built-in kind, which C did not make. In a vnet where nobody else clones: a name that is free is soon taken again. */
static int
cloned(ifnet_thread_t td)
{
	char made[IFNET_IFNAMSIZ], small[2];
	vnet_t jail, home;
	if_t ifp, again;

	CHECK((jail = vnet_alloc(td)) != 0);
	CHECK((home = curvnet_set(td, jail)) != 0);
	CHECK(if_clone_create(td, "disc", made) == 0);
	CHECK((ifp = ifunit_ref(td, made)) != 0);
	CHECK(if_name(td, ifp, small, sizeof(small)) == IFNET_ENAMETOOLONG);
	CHECK(if_detach(td, ifp) == IFNET_EPERM);
	CHECK(if_free(td, ifp) == IFNET_EPERM);
	CHECK(if_getsoftc(td, ifp) == NULL);
	CHECK(if_settransmitfn(td, ifp, echo_transmit) == IFNET_EPERM);
	CHECK(if_setflagbits(td, ifp, 0, IFNET_IFF_UP) == IFNET_EPERM);
	CHECK(if_rele(td, ifp) == 0);
	/* It lives, but no longer for us: the handle was good as long as the reference. */
	CHECK(if_getindex(td, ifp) == 0 && ifnet_errno(td) == IFNET_EBADF);
	CHECK(if_rele(td, ifp) == IFNET_EBADF);
	CHECK((again = ifunit_ref(td, made)) != 0 && again != ifp);
	CHECK(if_rele(td, again) == 0);
	CHECK(if_clone_destroy(td, made) == 0);
	CHECK(if_clone_destroy(td, made) == IFNET_ENXIO);
	CHECK(if_clone_create(td, "nosuchkind", NULL) == IFNET_EINVAL);
	CHECK(if_clone_create(td, "anamethatistoolong", NULL) == IFNET_ENAMETOOLONG);
	CHECK(if_clone_create(td, NULL, NULL) == IFNET_EINVAL);
	CHECK(curvnet_set(td, home) == jail);
	CHECK(vnet_destroy(td, jail) == 0);
	return settle(td) == 0 ? 0 : __LINE__;
}

/* Every function of an interface, with a handle that is none of a living one. */
static int
dead(ifnet_thread_t td, const struct driver_env *env, if_t ifp, int error)
{
	char name[IFNET_IFNAMSIZ];

	CHECK(if_free(td, ifp) == error);
	CHECK(if_initname(td, ifp, "x", 0) == error);
	CHECK(if_attach(td, ifp) == error);
	CHECK(ether_ifattach(td, ifp, lladdr) == error);
	CHECK(if_detach(td, ifp) == error);
	CHECK(ether_ifdetach(td, ifp) == error);
	CHECK(if_ref(td, ifp) == error);
	CHECK(if_rele(td, ifp) == error);
	CHECK(if_vmove(td, ifp, vnet_default(td)) == error);
	CHECK(if_name(td, ifp, name, sizeof(name)) == error);
	CHECK(if_getindex(td, ifp) == 0 && ifnet_errno(td) == error);
	CHECK(if_getflags(td, ifp) == 0 && if_getmtu(td, ifp) == 0);
	CHECK(if_setflags(td, ifp, IFNET_IFF_UP) == error);
	CHECK(if_setflagbits(td, ifp, IFNET_IFF_UP, 0) == error);
	CHECK(if_setmtu(td, ifp, 1500) == error);
	CHECK(if_getvnet(td, ifp) == 0 && if_getsoftc(td, ifp) == NULL);
	CHECK(if_getcounter(td, ifp, IFNET_COUNTER_IPACKETS) == 0);
	CHECK(if_link_state_change(td, ifp, IFNET_LINK_STATE_UP) == error);
	CHECK(if_setsoftc(td, ifp, NULL) == error);
	CHECK(if_settransmitfn(td, ifp, NULL) == error && if_setinputfn(td, ifp, NULL) == error);
	CHECK(if_setqflushfn(td, ifp, NULL) == error && if_setioctlfn(td, ifp, NULL) == error);
	CHECK(if_setreassignfn(td, ifp, NULL) == error);
	CHECK(bridge_addm(td, ifp, ifp) == error && bridge_delm(td, ifp, ifp) == error);
	CHECK(vlan_config(td, ifp, ifp, 7) == error && vlan_unconfig(td, ifp) == error);
	CHECK(if_addgroup(td, ifp, "g") == error && if_delgroup(td, ifp, "g") == error);
	CHECK(if_rename(td, ifp, "y") == error);
	CHECK(if_transmit(td, ifp, env->m_get(env->arg)) == error);
	CHECK(if_input(td, ifp, env->m_get(env->arg)) == error);
	return 0;
}

/* Every function, with the handle of a thread that is none. A packet stays the caller's: no kernel is known. */
static int
no_thread(const struct driver_env *env, ifnet_thread_t td, int error)
{
	struct mbuf *m;
	char made[IFNET_IFNAMSIZ];
	if_t ifp = 1;
	int ran;

	CHECK(ifnet_thread_exit(td) == error && ifnet_errno(td) == error);
	CHECK(ifnet_run_deferred(td, &ran) == error && ifnet_check(td, NULL, 0) == error);
	CHECK(net_epoch_enter(td) == error && net_epoch_exit(td) == error);
	CHECK(net_epoch_wait(td) == error && net_epoch_drain_callbacks(td) == error);
	CHECK(vnet_alloc(td) == 0 && vnet_destroy(td, 0) == error && vnet_default(td) == 0);
	CHECK(vnet_ifcnt(td, 0) == -1 && curvnet(td) == 0 && curvnet_set(td, 0) == 0);
	CHECK(if_alloc(td, IFNET_IFT_ETHER) == 0 && if_free(td, ifp) == error);
	CHECK(if_initname(td, ifp, "x", 0) == error && if_attach(td, ifp) == error);
	CHECK(ether_ifattach(td, ifp, lladdr) == error);
	CHECK(if_detach(td, ifp) == error && ether_ifdetach(td, ifp) == error);
	CHECK(if_ref(td, ifp) == error && if_rele(td, ifp) == error);
	CHECK(if_vmove(td, ifp, 0) == error && if_vmove_loan(td, "x", 0) == error);
	CHECK(if_vmove_reclaim(td, "x", 0) == error);
	CHECK(if_clone_create(td, "disc", made) == error && if_clone_destroy(td, "disc0") == error);
	CHECK(ifunit_ref(td, "lo0") == 0 && ifnet_byindex_ref(td, 1) == 0);
	CHECK(if_name(td, ifp, made, sizeof(made)) == error && if_getindex(td, ifp) == 0);
	CHECK(if_getflags(td, ifp) == 0 && if_setflags(td, ifp, 0) == error);
	CHECK(if_setflagbits(td, ifp, 0, 0) == error);
	CHECK(if_getmtu(td, ifp) == 0 && if_setmtu(td, ifp, 1500) == error);
	CHECK(if_getvnet(td, ifp) == 0 && if_getcounter(td, ifp, IFNET_COUNTER_IPACKETS) == 0);
	CHECK(if_link_state_change(td, ifp, IFNET_LINK_STATE_UP) == error);
	CHECK(if_getsoftc(td, ifp) == NULL && if_setsoftc(td, ifp, NULL) == error);
	CHECK(if_settransmitfn(td, ifp, NULL) == error && if_setinputfn(td, ifp, NULL) == error);
	CHECK(if_setqflushfn(td, ifp, NULL) == error && if_setioctlfn(td, ifp, NULL) == error);
	CHECK(if_setreassignfn(td, ifp, NULL) == error);
	CHECK(if_addgroup(td, ifp, "g") == error && if_delgroup(td, ifp, "g") == error);
	CHECK(if_rename(td, ifp, "y") == error);
	CHECK(bridge_addm(td, ifp, ifp) == error && bridge_delm(td, ifp, ifp) == error);
	CHECK(vlan_config(td, ifp, ifp, 7) == error && vlan_unconfig(td, ifp) == error);
	CHECK((m = env->m_get(env->arg)) != NULL);
	CHECK(if_transmit(td, ifp, m) == error && if_input(td, ifp, m) == error);
	env->m_freem(env->arg, m);
	return 0;
}

static int
misuse(ifnet_thread_t td, const struct driver_env *env, uint32_t unit)
{
	struct softc sc;
	vnet_t jail;
	if_t ifp, stale;
	int line, local;

	softc_init(&sc, env);
	CHECK((stale = if_alloc(td, IFNET_IFT_ETHER)) != 0);
	CHECK(if_attach(td, stale) == IFNET_EINVAL);	/* no name */
	CHECK(if_initname(td, stale, "", IFNET_IF_DUNIT_NONE) == IFNET_EINVAL);
	CHECK(if_initname(td, stale, NULL, 0) == IFNET_EINVAL);
	CHECK(if_initname(td, stale, "abcdefghijklmno", 0) == IFNET_ENAMETOOLONG);
	CHECK(if_vmove(td, stale, vnet_default(td)) != 0);	/* not attached */
	CHECK(if_free(td, stale) == 0);
	CHECK(if_alloc(td, 0xff) == 0 && ifnet_errno(td) == IFNET_EINVAL);

	if ((line = dead(td, env, 0, IFNET_EINVAL)) != 0)
		return line;
	if ((line = dead(td, env, stale, IFNET_EBADF)) != 0)
		return line;
	if ((line = dead(td, env, td, IFNET_EBADF)) != 0)
		return line;
	if ((line = dead(td, env, (if_t)(uintptr_t)&local, IFNET_EBADF)) != 0)
		return line;

	CHECK((ifp = echo_attach(td, &sc, unit)) != 0);
	CHECK(if_attach(td, ifp) == IFNET_EEXIST);
	CHECK(if_free(td, ifp) == IFNET_EBUSY);
	CHECK(if_initname(td, ifp, "late", 0) == IFNET_EBUSY);
	CHECK(if_rele(td, ifp) == IFNET_EINVAL);	/* none was taken */
	CHECK(if_vmove(td, ifp, 0) == IFNET_EINVAL);
	CHECK(if_vmove(td, ifp, ifp) == IFNET_EBADF);
	CHECK(if_addgroup(td, ifp, "ends1") == IFNET_EINVAL);
	CHECK(if_addgroup(td, ifp, NULL) == IFNET_EINVAL);
	CHECK(if_transmit(td, ifp, NULL) == IFNET_EINVAL);
	CHECK(if_link_state_change(td, ifp, 7) == IFNET_EINVAL);
	CHECK(ether_ifattach(td, ifp, NULL) == IFNET_EINVAL);
	CHECK(if_name(td, ifp, NULL, 0) == IFNET_EINVAL);
	CHECK(if_rename(td, ifp, NULL) == IFNET_EINVAL && if_delgroup(td, ifp, NULL) == IFNET_EINVAL);
	CHECK(if_getcounter(td, ifp, 99) == 0 && ifnet_errno(td) == IFNET_EINVAL);
	CHECK(bridge_addm(td, ifp, ifp) == IFNET_EINVAL && bridge_delm(td, ifp, ifp) == IFNET_EINVAL);
	CHECK(vlan_config(td, ifp, ifp, 7) == IFNET_EINVAL && vlan_unconfig(td, ifp) == IFNET_EINVAL);
	CHECK(net_epoch_exit(td) == IFNET_EINVAL);
	CHECK(ether_ifdetach(td, ifp) == 0);
	CHECK(if_free(td, ifp) == 0);
	CHECK(if_free(td, ifp) == IFNET_EBADF);

	CHECK((jail = vnet_alloc(td)) != 0);
	CHECK(vnet_destroy(td, jail) == 0);
	CHECK(vnet_destroy(td, jail) == IFNET_EBADF);
	CHECK(vnet_destroy(td, 0) == IFNET_EINVAL);
	CHECK(vnet_destroy(td, vnet_default(td)) == IFNET_EINVAL);
	CHECK(vnet_ifcnt(td, jail) == -1 && curvnet_set(td, jail) == 0);

	CHECK(ifunit_ref(td, NULL) == 0 && ifnet_errno(td) == IFNET_EINVAL);
	CHECK(ifnet_byindex_ref(td, 0) == 0 && ifnet_errno(td) == IFNET_ENXIO);
	CHECK(if_vmove_loan(td, NULL, vnet_default(td)) == IFNET_EINVAL);
	CHECK(if_vmove_loan(td, "lo0", jail) == IFNET_EBADF);
	CHECK(if_vmove_reclaim(td, NULL, vnet_default(td)) == IFNET_EINVAL);
	CHECK(if_vmove_reclaim(td, "lo0", 0) == IFNET_EINVAL);
	CHECK(if_clone_destroy(td, NULL) == IFNET_EINVAL);
	CHECK(ifnet_run_deferred(td, NULL) == 0);

	if ((line = no_thread(env, 0, IFNET_EINVAL)) != 0)
		return line;
	/* The handle of something else in the place of a thread's. */
	if ((line = no_thread(env, vnet_default(td), IFNET_EBADF)) != 0)
		return line;
	return settle(td) == 0 ? 0 : __LINE__;
}

/* Handles of one kernel in another. */
static int
foreign(ifnet_thread_t td, ifnet_kernel_t other, const struct driver_env *env)
{
	ifnet_thread_t there;
	if_t ifp;
	int line;

	CHECK(ifnet_thread_enter(other, &there) == 0);
	CHECK((ifp = if_alloc(there, IFNET_IFT_ETHER)) != 0);
	if ((line = dead(td, env, ifp, IFNET_EBADF)) != 0)
		return line;
	CHECK(vnet_destroy(td, vnet_default(there)) == IFNET_EBADF);
	CHECK(curvnet_set(td, vnet_default(there)) == 0);
	CHECK(if_free(there, ifp) == 0);
	CHECK(settle(there) == 0);
	CHECK(ifnet_thread_exit(there) == 0);
	return 0;
}

int
driver_run(ifnet_kernel_t kernel, ifnet_kernel_t other, const struct driver_env *env, uint32_t unit,
    int alone)
{
	ifnet_thread_t td;
	char text[128];
	int line;

	CHECK(ifnet_thread_enter(kernel, NULL) == IFNET_EINVAL);
	CHECK(ifnet_thread_enter(0, &td) == IFNET_EINVAL);
	CHECK(ifnet_thread_enter(kernel, &td) == 0);
	if ((line = life(td, env, unit, alone)) != 0 || (line = cloned(td)) != 0 || (line = misuse(td, env, unit)) != 0)
		return line;
	if (other != 0 && (line = foreign(td, other, env)) != 0)
		return line;
	if (alone)
		CHECK(ifnet_check(td, text, sizeof(text)) == 0);
	CHECK(net_epoch_enter(td) == 0);
	CHECK(ifnet_thread_exit(td) == IFNET_EBUSY);
	CHECK(net_epoch_exit(td) == 0);
	CHECK(ifnet_thread_exit(td) == 0);
	/* The handle of a thread that has left. */
	return no_thread(env, td, IFNET_EBADF);
}

static int
detach_in_transmit(ifnet_thread_t td, if_t ifp, struct mbuf *m)
{
	(void)m;
	return if_detach(td, ifp);
}

const char *
driver_panic_text(int which)
{
	static const char *const texts[] = {
		"echo7: interface is not on the active list",
		"echo7: interface is not on the active list",
		"ether_ifdetach: sleeping in an epoch section",
		"if_detach: sleeping in an epoch section",
	};

	return which >= 0 && (size_t)which < sizeof(texts) / sizeof(texts[0]) ? texts[which] : NULL;
}

void
driver_panic(ifnet_kernel_t kernel, const struct driver_env *env, int which)
{
	static struct softc sc;
	ifnet_thread_t td;
	if_t ifp;

	if (ifnet_thread_enter(kernel, &td) != 0)
		return;
	switch (which) {
	case 0:		/* A second detach. */
		if ((ifp = echo_attach(td, &sc, 7)) == 0 || ether_ifdetach(td, ifp) != 0)
			return;
		(void)ether_ifdetach(td, ifp);
		return;
	case 1:		/* A detach of what was never attached. */
		if ((ifp = if_alloc(td, IFNET_IFT_OTHER)) == 0 || if_initname(td, ifp, "echo", 7) != 0)
			return;
		(void)if_detach(td, ifp);
		return;
	case 2:		/* Sleeping inside an epoch section. */
		if ((ifp = echo_attach(td, &sc, 7)) == 0 || net_epoch_enter(td) != 0)
			return;
		(void)ether_ifdetach(td, ifp);
		return;
	case 3:		/* The same, from the function that sends. */
		if ((ifp = echo_attach(td, &sc, 7)) == 0 || if_settransmitfn(td, ifp, detach_in_transmit) != 0)
			return;
		(void)if_transmit(td, ifp, env->m_get(env->arg));
		return;
	default:
		return;
	}
}
