/*
 * Each function of struct ifnet_host that may be null: what it is called for, what is done without it, and which of them
 * cannot do without each other.
 */
#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "driver.h"
#include "hooks.h"
#include "system.h"

#define THREADS 3
#define ROUNDS 4
#define MEMBERS 3

/* What a host can have. */
static struct ifnet_host all;

static size_t
nobody(void *arg)
{
	(void)arg;
	return 0;
}

/* Another kind of lock: a bit of the word. */
static void
bit_lock(void *arg, size_t *lock)
{
	(void)arg;
	while (__atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE) != 0)
		sched_yield();
}

static void
bit_unlock(void *arg, size_t *lock)
{
	(void)arg;
	__atomic_store_n(lock, 0, __ATOMIC_RELEASE);
}

static unsigned char memory[1 << 20];

#define CHECK(condition) do { if (!(condition)) return __LINE__; } while (0)

/* What every host must have, and nothing else. */
static struct ifnet_host
least(void)
{
	struct ifnet_host host;

	memset(&host, 0, sizeof(host));
	host.curthread = all.curthread;
	host.panic = all.panic;
	host.m_freem = all.m_freem;
	return host;
}

static int
boots(const struct ifnet_host *host, ifnet_kernel_t *kernel)
{
	return ifnet_boot(host, memory, sizeof(memory), NULL, kernel);
}

/* What is required, and what comes only together. */
static int
lacking(void)
{
	struct ifnet_host host;
	ifnet_kernel_t kernel, second;
	ifnet_thread_t td;
	static unsigned char other[1 << 18];

#define REFUSED(change) do { host = least(); change; CHECK(boots(&host, &kernel) == IFNET_EINVAL); } while (0)
	REFUSED(host.curthread = NULL);
	REFUSED(host.panic = NULL);
	REFUSED(host.m_freem = NULL);
	REFUSED(host.alloc = all.alloc);
	REFUSED(host.free = all.free);
	REFUSED(host.mtx_lock = all.mtx_lock);
	REFUSED(host.mtx_unlock = all.mtx_unlock);
	REFUSED(host.mtx_destroy = all.mtx_destroy);
	REFUSED(host.in_interrupt = all.in_interrupt);
	REFUSED(host.sleep = all.sleep);
	REFUSED(host.wakeup = all.wakeup);
	REFUSED(host.vlan_encap = all.vlan_encap);
	REFUSED(host.vlan_decap = all.vlan_decap);

	/* Nobody is a thread. */
	host = least();
	host.curthread = nobody;
	CHECK(boots(&host, &kernel) == 0);
	CHECK(ifnet_thread_enter(kernel, &td) == IFNET_EINVAL);
	CHECK(ifnet_shutdown(kernel) == 0);

	/* Locks are the same for all kernels that are up; the next ones may have others. */
	host = least();
	CHECK(boots(&host, &kernel) == 0);
	host.mtx_lock = bit_lock;
	host.mtx_unlock = bit_unlock;
	CHECK(ifnet_boot(&host, other, sizeof(other), NULL, &second) == IFNET_EINVAL);
	CHECK(ifnet_shutdown(kernel) == 0);
	CHECK(ifnet_boot(&host, other, sizeof(other), NULL, &second) == 0);
	CHECK(boots(&host, &kernel) == 0);
	CHECK(ifnet_shutdown(kernel) == 0);
	host.arg = &seen;
	CHECK(boots(&host, &kernel) == IFNET_EINVAL);
	CHECK(ifnet_shutdown(second) == 0);
	CHECK(boots(&host, &kernel) == 0);
	return ifnet_shutdown(kernel) == 0 ? 0 : __LINE__;
}

struct work {
	ifnet_kernel_t kernel;
	const struct driver_env *env;
	unsigned number;
	int line;
};

static void *
work(void *arg)
{
	struct work *work = (struct work *)arg;
	int round;

	for (round = 0; round < ROUNDS && work->line == 0; round++)
		work->line = driver_run(work->kernel, 0, work->env, work->number, 0);
	return NULL;
}

/* The whole driver, in several threads, on the locks and the waits of the host. */
static int
threads(void)
{
	struct ifnet_host host = least();
	struct driver_env env = { m_get, all.m_freem, NULL };
	struct work works[THREADS];
	pthread_t ids[THREADS];
	ifnet_kernel_t kernel;
	unsigned i;

	host.mtx_lock = all.mtx_lock;
	host.mtx_unlock = all.mtx_unlock;
	host.mtx_destroy = all.mtx_destroy;
	host.in_interrupt = all.in_interrupt;
	host.relax = all.relax;
	host.sleep = all.sleep;
	host.wakeup = all.wakeup;
	host.work_queued = all.work_queued;
	CHECK(boots(&host, &kernel) == 0);
	CHECK(driver_run(kernel, 0, &env, THREADS, 1) == 0);
	for (i = 0; i < THREADS; i++) {
		works[i].kernel = kernel;
		works[i].env = &env;
		works[i].number = i;
		works[i].line = 0;
		CHECK(pthread_create(&ids[i], NULL, work, &works[i]) == 0);
	}
	for (i = 0; i < THREADS; i++) {
		pthread_join(ids[i], NULL);
		if (works[i].line != 0)
			fprintf(stderr, "driver.c:%d\n", works[i].line);
		CHECK(works[i].line == 0);
	}
	CHECK(ifnet_memory_in_use(kernel) > 0);
	CHECK(seen.locks > 0 && seen.locked > 1000 && seen.queued > 0);
	CHECK(ifnet_shutdown(kernel) == 0);
	CHECK(seen.locks == 0 && seen.packets == 0);
	return 0;
}

/* A driver that keeps count of what it sends. */
struct port {
	int sent, tag;
};

static int
port_transmit(ifnet_thread_t td, if_t ifp, struct mbuf *m)
{
	struct port *port = (struct port *)if_getsoftc(td, ifp);

	port->sent++;
	port->tag = m->tag;
	all.m_freem(NULL, m);
	return 0;
}

/* Hears every frame if it is asked to, as a bridge asks. */
static int
port_ioctl(ifnet_thread_t td, if_t ifp, uint32_t command, uint32_t data)
{
	(void)td, (void)ifp, (void)data;
	return command == IFNET_SIOCSIFFLAGS ? 0 : IFNET_EINVAL;
}

static if_t
port_attach(ifnet_thread_t td, struct port *port, uint8_t unit)
{
	uint8_t lladdr[6] = { 2, 0, 0, 0, 1, 0 };
	if_t ifp = if_alloc(td, IFNET_IFT_ETHER);

	lladdr[5] = unit;
	port->sent = port->tag = 0;
	if (ifp == 0 || if_initname(td, ifp, "port", unit) != 0 || if_setsoftc(td, ifp, port) != 0 ||
	    if_settransmitfn(td, ifp, port_transmit) != 0 || if_setioctlfn(td, ifp, port_ioctl) != 0 ||
	    ether_ifattach(td, ifp, lladdr) != 0 ||
	    if_setflagbits(td, ifp, IFNET_IFF_DRV_RUNNING, 0) != 0 || if_setflags(td, ifp, IFNET_IFF_UP) != 0)
		return 0;
	return ifp;
}

static int
port_detach(ifnet_thread_t td, if_t ifp)
{
	CHECK(ether_ifdetach(td, ifp) == 0);
	CHECK(if_free(td, ifp) == 0);
	return 0;
}

/* A cloned interface that is up, with a reference. */
static if_t
cloned(ifnet_thread_t td, const char *kind, char *made)
{
	if_t ifp;

	if (if_clone_create(td, kind, made) != 0 || (ifp = ifunit_ref(td, made)) == 0)
		return 0;
	return if_setflags(td, ifp, IFNET_IFF_UP) == 0 ? ifp : 0;
}

/* A frame from one station to another. */
static struct mbuf *
frame(uint8_t source, uint8_t destination)
{
	struct mbuf *m = m_get(NULL);

	if (m == NULL)
		abort();
	m->source[0] = m->destination[0] = 2;
	m->source[5] = source;
	m->destination[5] = destination;
	return m;
}

/* A bridge: with frame_header it learns where a station is; without, it floods, to the last member if it cannot copy. */
static int
bridging(int reads, int copies)
{
	struct ifnet_host host = least();
	struct port ports[MEMBERS];
	if_t ifps[MEMBERS], bridge;
	char made[IFNET_IFNAMSIZ];
	ifnet_kernel_t kernel;
	ifnet_thread_t td;
	int i, flooded;

	host.frame_header = reads ? all.frame_header : NULL;
	host.m_copypacket = copies ? all.m_copypacket : NULL;
	CHECK(boots(&host, &kernel) == 0);
	CHECK(ifnet_thread_enter(kernel, &td) == 0);
	CHECK((bridge = cloned(td, "bridge", made)) != 0);
	for (i = 0; i < MEMBERS; i++) {
		CHECK((ifps[i] = port_attach(td, &ports[i], (uint8_t)i)) != 0);
		CHECK(bridge_addm(td, bridge, ifps[i]) == 0);
	}
	/* Station 10 is behind port 0, and nobody knows where 11 is. */
	CHECK(if_input(td, ifps[0], frame(10, 11)) == 0);
	flooded = ports[1].sent + ports[2].sent;
	CHECK(ports[0].sent == 0 && flooded == (copies ? 2 : 1));
	/* Station 11 answers from port 1. */
	CHECK(if_input(td, ifps[1], frame(11, 10)) == 0);
	if (reads)
		CHECK(ports[0].sent == 1 && ports[1].sent + ports[2].sent == flooded);
	else
		CHECK(ports[0].sent + ports[1].sent + ports[2].sent == flooded + (copies ? 2 : 1));
	CHECK(bridge_delm(td, bridge, ifps[0]) == 0 && bridge_delm(td, bridge, ifps[0]) == IFNET_ENOENT);
	CHECK(if_rele(td, bridge) == 0 && if_clone_destroy(td, made) == 0);
	for (i = 0; i < MEMBERS; i++)
		CHECK(port_detach(td, ifps[i]) == 0);
	CHECK(ifnet_thread_exit(td) == 0 && ifnet_shutdown(kernel) == 0);
	CHECK(seen.packets == 0);
	return 0;
}

/* A VLAN sends with its tag and takes what has it; without the functions it sends nothing. */
static int
vlans(int tags)
{
	struct ifnet_host host = least();
	struct port port;
	if_t parent, vlan;
	char made[IFNET_IFNAMSIZ];
	struct mbuf *m;
	ifnet_kernel_t kernel;
	ifnet_thread_t td;

	if (tags) {
		host.vlan_encap = all.vlan_encap;
		host.vlan_decap = all.vlan_decap;
	}
	CHECK(boots(&host, &kernel) == 0);
	CHECK(ifnet_thread_enter(kernel, &td) == 0);
	CHECK((parent = port_attach(td, &port, 0)) != 0);
	CHECK((vlan = cloned(td, "vlan", made)) != 0);
	CHECK(vlan_config(td, vlan, parent, 7) == 0);
	CHECK(vlan_config(td, vlan, parent, 5000) != 0);
	CHECK((if_transmit(td, vlan, frame(1, 2)) == 0) == tags);
	CHECK(port.sent == tags && port.tag == (tags ? 7 : 0));
	m = frame(2, 1);
	m->tag = 7;
	CHECK(if_input(td, parent, m) == 0);
	CHECK(if_getcounter(td, vlan, IFNET_COUNTER_IPACKETS) == (size_t)tags);
	CHECK(vlan_unconfig(td, vlan) == 0);
	CHECK(if_rele(td, vlan) == 0 && if_clone_destroy(td, made) == 0);
	CHECK(port_detach(td, parent) == 0);
	CHECK(ifnet_thread_exit(td) == 0 && ifnet_shutdown(kernel) == 0);
	CHECK(seen.packets == 0);
	return 0;
}

/* In a handler a lookup is allowed; what may sleep is a panic, here in a process of its own. */
static int
interrupts(void)
{
	struct ifnet_host host = least();
	struct port port;
	ifnet_kernel_t kernel;
	ifnet_thread_t td;
	if_t ifp;
	pid_t child;
	int status;

	host.mtx_lock = bit_lock;
	host.mtx_unlock = bit_unlock;
	host.in_interrupt = all.in_interrupt;
	CHECK(boots(&host, &kernel) == 0);
	CHECK(ifnet_thread_enter(kernel, &td) == 0);
	CHECK((ifp = port_attach(td, &port, 0)) != 0);
	seen.in_interrupt = 1;
	CHECK(net_epoch_enter(td) == 0);
	CHECK(ifunit_ref(td, "port0") == ifp && if_rele(td, ifp) == 0);
	CHECK(if_transmit(td, ifp, frame(1, 2)) == 0 && port.sent == 1);
	CHECK(if_link_state_change(td, ifp, IFNET_LINK_STATE_UP) == 0);
	CHECK(net_epoch_exit(td) == 0);
	seen.expected = "ether_ifdetach: sleeping in an interrupt";
	if ((child = fork()) == 0) {
		(void)ether_ifdetach(td, ifp);
		_exit(4);
	}
	CHECK(child > 0 && waitpid(child, &status, 0) == child);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	seen.in_interrupt = 0;
	seen.expected = NULL;
	CHECK(port_detach(td, ifp) == 0);
	CHECK(ifnet_thread_exit(td) == 0 && ifnet_shutdown(kernel) == 0);
	CHECK(seen.packets == 0);
	return 0;
}

int
hooks_run(void)
{
	int i, line;

	all = everything();
	if ((line = lacking()) != 0 || (line = threads()) != 0 || (line = interrupts()) != 0)
		return line;
	for (i = 0; i < 4; i++)
		if ((line = bridging(i & 1, i >> 1)) != 0)
			return line;
	if ((line = vlans(0)) != 0)
		return line;
	return vlans(1);
}
