/*
 * A process as the host of a kernel with the driver of driver.c: a pool and malloc as memory, one thread and several,
 * and the panics, each in a process of its own. Exits with 0 when all is as it should be.
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

#define THREADS 4
#define ROUNDS 8

/* What a host knows: counts of what is out, and the panic that it expects. */
struct host {
	long packets, pieces, lines;
	const char *expected;
};

/* A packet: the library knows nothing of it. */
struct mbuf {
	int number;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t woken = PTHREAD_COND_INITIALIZER;
static unsigned long wakeups;

static void
count(long *counter, long by)
{
	pthread_mutex_lock(&lock);
	*counter += by;
	pthread_mutex_unlock(&lock);
}

static size_t
host_curthread(void *arg)
{
	(void)arg;
	return (size_t)pthread_self();
}

static void
host_panic(void *arg, const char *message)
{
	struct host *host = (struct host *)arg;

	if (host->expected != NULL && strcmp(message, host->expected) == 0)
		_exit(0);
	fprintf(stderr, "panic: %s\n", message);
	_exit(3);
}

static struct mbuf *
m_get(void *arg)
{
	count(&((struct host *)arg)->packets, 1);
	return (struct mbuf *)calloc(1, sizeof(struct mbuf));
}

static void
m_freem(void *arg, struct mbuf *m)
{
	count(&((struct host *)arg)->packets, -1);
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

static void *
host_alloc(void *arg, size_t size, size_t align)
{
	void *memory;

	if (posix_memalign(&memory, align < sizeof(void *) ? sizeof(void *) : align, size) != 0)
		return NULL;
	count(&((struct host *)arg)->pieces, 1);
	return memory;
}

static void
host_free(void *arg, void *memory, size_t size, size_t align)
{
	(void)size, (void)align;
	count(&((struct host *)arg)->pieces, -1);
	free(memory);
}

static void
host_relax(void *arg)
{
	(void)arg;
	sched_yield();
}

static void
host_sleep(void *arg, size_t channel, int (*ready)(void *cookie), void *cookie)
{
	unsigned long seen;

	(void)arg, (void)channel;
	pthread_mutex_lock(&lock);
	for (;;) {
		seen = wakeups;
		pthread_mutex_unlock(&lock);
		if (ready(cookie))
			return;
		pthread_mutex_lock(&lock);
		if (seen == wakeups) {
			/* The end of an epoch section is not announced: look again soon. */
			pthread_mutex_unlock(&lock);
			sched_yield();
			pthread_mutex_lock(&lock);
		}
	}
}

static void
host_wakeup(void *arg, size_t channel)
{
	(void)arg, (void)channel;
	pthread_mutex_lock(&lock);
	wakeups++;
	pthread_cond_broadcast(&woken);
	pthread_mutex_unlock(&lock);
}

static void
host_trace(void *arg, uint32_t thread, const char *line)
{
	static const char arrival[] = "ifnet_arrival_event echo";

	if (thread != 0 && strncmp(line, arrival, sizeof(arrival) - 1) == 0)
		count(&((struct host *)arg)->lines, 1);
}

static struct ifnet_host
host_functions(struct host *host, int heap, int sleeps)
{
	struct ifnet_host functions;

	memset(&functions, 0, sizeof(functions));
	functions.arg = host;
	functions.curthread = host_curthread;
	functions.panic = host_panic;
	functions.m_freem = m_freem;
	functions.m_copypacket = m_copypacket;
	functions.relax = host_relax;
	functions.trace = host_trace;
	if (heap) {
		functions.alloc = host_alloc;
		functions.free = host_free;
	}
	if (sleeps) {
		functions.sleep = host_sleep;
		functions.wakeup = host_wakeup;
	}
	return functions;
}

static unsigned char pools[2][1 << 20];

static void
fail(const char *what, int number)
{
	fprintf(stderr, "FAILED: %s: %d\n", what, number);
	exit(1);
}

static void
expect(const char *what, int got, int wanted)
{
	if (got != wanted)
		fail(what, got);
}

/* What ifnet_boot refuses. */
static void
boot_misuse(void)
{
	struct host host = { 0, 0, 0, NULL };
	struct ifnet_host functions = host_functions(&host, 0, 0), lacking;
	struct ifnet_config config = { 100000, 0 };
	ifnet_kernel_t kernels[5];
	static unsigned char many[4][1 << 18];
	int i;

	expect("no host", ifnet_boot(NULL, pools[0], sizeof(pools[0]), NULL, &kernels[0]), IFNET_EINVAL);
	expect("no place", ifnet_boot(&functions, pools[0], sizeof(pools[0]), NULL, NULL), IFNET_EINVAL);
	expect("no memory", ifnet_boot(&functions, NULL, 0, NULL, &kernels[0]), IFNET_EINVAL);
	expect("config", ifnet_boot(&functions, pools[0], sizeof(pools[0]), &config, &kernels[0]), IFNET_EINVAL);
	lacking = functions;
	lacking.panic = NULL;
	expect("no panic", ifnet_boot(&lacking, pools[0], sizeof(pools[0]), NULL, &kernels[0]), IFNET_EINVAL);
	lacking = functions;
	lacking.alloc = host_alloc;
	expect("half a heap", ifnet_boot(&lacking, pools[0], sizeof(pools[0]), NULL, &kernels[0]), IFNET_EINVAL);
	for (i = 0; i < 20000; i += 499)
		expect("little memory", ifnet_boot(&functions, pools[0] + 1, (size_t)i, NULL, &kernels[0]), IFNET_ENOMEM);
	for (i = 0; i < 4; i++)
		expect("boot", ifnet_boot(&functions, many[i], sizeof(many[i]), NULL, &kernels[i]), 0);
	expect("a fifth", ifnet_boot(&functions, pools[0], sizeof(pools[0]), NULL, &kernels[4]), IFNET_EAGAIN);
	for (i = 0; i < 4; i++)
		expect("shutdown", ifnet_shutdown(kernels[i]), 0);
	expect("second shutdown", ifnet_shutdown(kernels[0]), IFNET_EBADF);
	expect("shutdown of null", ifnet_shutdown(0), IFNET_EINVAL);
}

/* Memory runs out, and all of it comes back. */
static void
exhaust(void)
{
	struct host host = { 0, 0, 0, NULL };
	struct ifnet_host functions = host_functions(&host, 0, 0);
	static unsigned char memory[1 << 18];
	static if_t ifps[1000];
	ifnet_kernel_t kernel;
	ifnet_thread_t td;
	size_t before, after = 0;
	int round, made, error;

	expect("boot", ifnet_boot(&functions, memory, sizeof(memory), NULL, &kernel), 0);
	expect("enter", ifnet_thread_enter(kernel, &td), 0);
	for (round = 0; round < 4; round++) {
		before = after;
		for (made = 0; made < 1000; made++) {
			if ((ifps[made] = if_alloc(td, IFNET_IFT_ETHER)) == 0)
				break;
			expect("name", if_initname(td, ifps[made], "e", (uint32_t)made), 0);
		}
		expect("if_alloc without memory", ifnet_errno(td), IFNET_ENOMEM);
		if (made < 10 || made == 1000)
			fail("interfaces", made);
		if (vnet_alloc(td) != 0 || ifnet_errno(td) != IFNET_ENOMEM)
			fail("vnet_alloc without memory", ifnet_errno(td));
		/* Some can be attached: pieces of the right sizes may be left. Nothing of the rest needs memory. */
		for (; made > 0; made--) {
			if ((error = if_attach(td, ifps[made - 1])) == 0)
				expect("detach", if_detach(td, ifps[made - 1]), 0);
			else
				expect("attach", error, IFNET_ENOMEM);
			expect("free", if_free(td, ifps[made - 1]), 0);
		}
		/* What one round frees may be what another object waits for. */
		for (made = 0; made < 3; made++)
			expect("drain", net_epoch_drain_callbacks(td), 0);
		after = ifnet_memory_in_use(kernel);
	}
	if (after != before)
		fail("bytes that did not come back", (int)(after - before));
	expect("exit", ifnet_thread_exit(td), 0);
	expect("shutdown", ifnet_shutdown(kernel), 0);
}

struct work {
	ifnet_kernel_t kernel;
	const struct driver_env *env;
	unsigned number;
	ifnet_thread_t stolen;
	int line;
};

static void *
work(void *arg)
{
	struct work *work = (struct work *)arg;
	int round;

	if (vnet_default(work->stolen) != 0 || ifnet_thread_exit(work->stolen) != IFNET_EPERM)
		work->line = -1;
	for (round = 0; round < ROUNDS && work->line == 0; round++)
		work->line = driver_run(work->kernel, 0, work->env, work->number, 0);
	return NULL;
}

/* The driver in one thread and in several, with a second kernel beside. */
static void
run(int heap, int sleeps)
{
	struct host host = { 0, 0, 0, NULL };
	struct ifnet_host functions = host_functions(&host, heap, sleeps);
	struct driver_env env;
	ifnet_kernel_t kernel, other;
	ifnet_thread_t td;
	struct work works[THREADS];
	pthread_t threads[THREADS];
	unsigned i;

	env.m_get = m_get;
	env.m_freem = m_freem;
	env.arg = &host;
	expect("boot", ifnet_boot(&functions, heap ? NULL : pools[0], sizeof(pools[0]), NULL, &kernel), 0);
	expect("boot", ifnet_boot(&functions, heap ? NULL : pools[1], sizeof(pools[1]), NULL, &other), 0);
	for (i = 0; i < 3; i++)
		expect("driver.c", driver_run(kernel, other, &env, 0, 1), 0);
	expect("shutdown", ifnet_shutdown(other), 0);
	expect("a stale kernel", ifnet_thread_enter(other, &td), IFNET_EBADF);

	expect("enter", ifnet_thread_enter(kernel, &td), 0);
	expect("shutdown with a thread inside", ifnet_shutdown(kernel), IFNET_EBUSY);
	for (i = 0; i < THREADS; i++) {
		works[i].kernel = kernel;
		works[i].env = &env;
		works[i].number = i;
		works[i].stolen = td;
		works[i].line = 0;
		expect("thread", pthread_create(&threads[i], NULL, work, &works[i]), 0);
	}
	for (i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		expect("driver.c in a thread", works[i].line, 0);
	}
	expect("check", ifnet_check(td, NULL, 0), 0);
	expect("exit", ifnet_thread_exit(td), 0);
	expect("shutdown", ifnet_shutdown(kernel), 0);
	if (host.lines < 3)
		fail("lines of the log", (int)host.lines);
	expect("packets that are out", (int)host.packets, 0);
	expect("pieces of memory that are out", (int)host.pieces, 0);
}

/* A packet that nobody can free any more after a panic. */
static struct mbuf *
lost(void *arg)
{
	static struct mbuf m;

	(void)arg;
	return &m;
}

/* A panic, in a process of its own. */
static void
panics(int which)
{
	struct host host = { 0, 0, 0, NULL };
	struct ifnet_host functions = host_functions(&host, 0, 0);
	struct driver_env env = { lost, m_freem, &host };
	ifnet_kernel_t kernel;
	int status;
	pid_t child = fork();

	if (child == 0) {
		host.expected = driver_panic_text(which);
		if (ifnet_boot(&functions, pools[0], sizeof(pools[0]), NULL, &kernel) == 0)
			driver_panic(kernel, &env, which);
		_exit(4);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		fail("fork", which);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail("a panic that did not come", which);
}

int
main(void)
{
	int which;

	boot_misuse();
	expect("hooks.c", hooks_run(), 0);
	exhaust();
	run(0, 0);
	run(1, 0);
	run(1, 1);
	for (which = 0; driver_panic_text(which) != NULL; which++)
		panics(which);
	printf("capi: ok, %d panics\n", which);
	return 0;
}
