/*
 * What a system would do for the library: packets, memory, locks, waits. It counts what is out.
 */
#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "system.h"

struct seen seen;

#define ADD(counter, by) ((void)__atomic_add_fetch(&(counter), (by), __ATOMIC_SEQ_CST))

static size_t
curthread(void *arg)
{
	(void)arg;
	return (size_t)pthread_self();
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

struct mbuf *
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

struct ifnet_host
everything(void)
{
	struct ifnet_host host;

	memset(&host, 0, sizeof(host));
	host.curthread = curthread;
	host.panic = on_panic;
	host.m_freem = m_freem;
	host.m_copypacket = m_copypacket;
	host.frame_header = frame_header;
	host.vlan_encap = vlan_encap;
	host.vlan_decap = vlan_decap;
	host.alloc = host_alloc;
	host.free = host_free;
	host.mtx_lock = mtx_lock;
	host.mtx_unlock = mtx_unlock;
	host.mtx_destroy = mtx_destroy;
	host.in_interrupt = in_interrupt;
	host.relax = on_relax;
	host.sleep = on_sleep;
	host.wakeup = on_wakeup;
	host.work_queued = work_queued;
	return host;
}
