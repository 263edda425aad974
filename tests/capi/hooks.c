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

#define THREADS 3
#define ROUNDS 4
#define MEMBERS 3

/* A frame, with at most one tag. */
struct mbuf {
	uint8_t destination[6], source[6];
	int tag;
};

/* What the functions below have counted. */
static struct {
	long packets, locks, locked, queued, waits;
	int in_interrupt;
	const char *expected;
} seen;

#define ADD(counter, by) ((void)__atomic_add_fetch(&(counter), (by), __ATOMIC_SEQ_CST))

static size_t
curthread(void *arg)
{
	(void)arg;
	return (size_t)pthread_self();
}

static size_t
nobody(void *arg)
{
	(void)arg;
	return 0;
}

static void
on_panic(void *arg, const char *message)
{
	(void)arg;
	if (seen.expected != NULL && strcmp(message, seen.expected) == 0)
		_exit(0);
	fprintf(stderr, "panic: %s\n", message);
	_exit(3);
}

static struct mbuf *
m_get(void *arg)
{
	(void)arg;
	ADD(seen.packets, 1);
	return (struct mbuf *)calloc(1, sizeof(struct mbuf));
}

static void
m_freem(void *arg, struct mbuf *m)
{
	(void)arg;
	ADD(seen.packets, -1);
	free(m);
}

static struct mbuf *
m_copypacket(void *arg, struct mbuf *m)
{
	struct mbuf *copy = m_get(arg);

	if (copy != NULL)
		*copy = *m;
	return copy;
}

static int
frame_header(void *arg, struct mbuf *m, struct ifnet_frame *frame)
{
	(void)arg;
	memcpy(frame->destination, m->destination, 6);
	memcpy(frame->source, m->source, 6);
	return 1;
}

/* Puts another packet in the place of the old one, as an mbuf chain may have to. */
static int
vlan_encap(void *arg, struct mbuf **m, uint16_t tag)
{
	struct mbuf *tagged;

	if ((*m)->tag != 0 || (tagged = m_copypacket(arg, *m)) == NULL)
		return 0;
	tagged->tag = tag;
	m_freem(arg, *m);
	*m = tagged;
	return 1;
}

static int
vlan_decap(void *arg, struct mbuf **m)
{
	int tag = (*m)->tag;

	(void)arg;
	(*m)->tag = 0;
	return tag != 0 ? tag : -1;
}

static void *
host_alloc(void *arg, size_t size, size_t align)
{
	void *memory;

	(void)arg;
	return posix_memalign(&memory, align < sizeof(void *) ? sizeof(void *) : align, size) == 0 ? memory : NULL;
}

static void
host_free(void *arg, void *memory, size_t size, size_t align)
{
	(void)arg, (void)size, (void)align;
	free(memory);
}

/* A lock of the system. The word points to it from the first time on. */
static pthread_mutex_t *
mutex_of(size_t *lock)
{
	size_t word = __atomic_load_n(lock, __ATOMIC_ACQUIRE), zero = 0;
	pthread_mutex_t *mutex;

	if (word != 0)
		return (pthread_mutex_t *)word;
	if ((mutex = (pthread_mutex_t *)malloc(sizeof(*mutex))) == NULL || pthread_mutex_init(mutex, NULL) != 0)
		abort();
	if (!__atomic_compare_exchange_n(lock, &zero, (size_t)mutex, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
		/* Somebody else was quicker. */
		pthread_mutex_destroy(mutex);
		free(mutex);
		return (pthread_mutex_t *)zero;
	}
	ADD(seen.locks, 1);
	return mutex;
}

static void
mtx_lock(void *arg, size_t *lock)
{
	(void)arg;
	if (pthread_mutex_lock(mutex_of(lock)) != 0)
		abort();
	ADD(seen.locked, 1);
}

static void
mtx_unlock(void *arg, size_t *lock)
{
	(void)arg;
	if (pthread_mutex_unlock(mutex_of(lock)) != 0)
		abort();
}

static void
mtx_destroy(void *arg, size_t *lock)
{
	(void)arg;
	if (*lock == 0)
		return;
	if (pthread_mutex_destroy((pthread_mutex_t *)*lock) != 0)
		abort();
	free((void *)*lock);
	ADD(seen.locks, -1);
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

static int
in_interrupt(void *arg)
{
	(void)arg;
	return seen.in_interrupt;
}

static void
on_relax(void *arg)
{
	(void)arg;
	ADD(seen.waits, 1);
	sched_yield();
}

static void
on_sleep(void *arg, size_t channel, int (*ready)(void *cookie), void *cookie)
{
	(void)channel;
	while (!ready(cookie))
		on_relax(arg);
}

static void
on_wakeup(void *arg, size_t channel)
{
	(void)arg, (void)channel;
}

static void
work_queued(void *arg)
{
	(void)arg;
	ADD(seen.queued, 1);
}

static unsigned char memory[1 << 20];

#define CHECK(condition) do { if (!(condition)) return __LINE__; } while (0)

/* What every host must have, and nothing else. */
static struct ifnet_host
least(void)
{
	struct ifnet_host host;

	memset(&host, 0, sizeof(host));
	host.curthread = curthread;
	host.panic = on_panic;
	host.m_freem = m_freem;
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
	REFUSED(host.alloc = host_alloc);
	REFUSED(host.free = host_free);
	REFUSED(host.mtx_lock = mtx_lock);
	REFUSED(host.mtx_unlock = mtx_unlock);
	REFUSED(host.mtx_destroy = mtx_destroy);
	REFUSED(host.in_interrupt = in_interrupt);
	REFUSED(host.sleep = on_sleep);
	REFUSED(host.wakeup = on_wakeup);
	REFUSED(host.vlan_encap = vlan_encap);
	REFUSED(host.vlan_decap = vlan_decap);

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
	struct driver_env env = { m_get, m_freem, NULL };
	struct work works[THREADS];
	pthread_t ids[THREADS];
	ifnet_kernel_t kernel;
	unsigned i;

	host.mtx_lock = mtx_lock;
	host.mtx_unlock = mtx_unlock;
	host.mtx_destroy = mtx_destroy;
	host.in_interrupt = in_interrupt;
	host.relax = on_relax;
	host.sleep = on_sleep;
	host.wakeup = on_wakeup;
	host.work_queued = work_queued;
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
	m_freem(NULL, m);
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

	host.frame_header = reads ? frame_header : NULL;
	host.m_copypacket = copies ? m_copypacket : NULL;
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
		host.vlan_encap = vlan_encap;
		host.vlan_decap = vlan_decap;
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
	host.in_interrupt = in_interrupt;
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

	if ((line = lacking()) != 0 || (line = threads()) != 0 || (line = interrupts()) != 0)
		return line;
	for (i = 0; i < 4; i++)
		if ((line = bridging(i & 1, i >> 1)) != 0)
			return line;
	if ((line = vlans(0)) != 0)
		return line;
	return vlans(1);
}
