/*
 * An example driver in C, and the tests of the C interface. Needs nothing but the header and an environment: the same
 * file runs in a process and in a kernel.
 */
#ifndef IFNET_TESTS_DRIVER_H
#define IFNET_TESTS_DRIVER_H

#include "ifnet.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the tests need of the machine beside a kernel. */
struct driver_env {
	/* A packet, or null. */
	struct mbuf *(*m_get)(void *arg);
	/* Frees it: the same function as the host's. */
	void (*m_freem)(void *arg, struct mbuf *m);
	void *arg;
};

/* The life of a driver, and every misuse that is an error. 0, or the line of driver.c whose check failed. `other` is
 * another kernel, or zero. Leaves the kernel as it was; may be called again, and by several threads, each with a `unit`
 * of its own; the checks of counts and of invariants need `alone`. */
int driver_run(ifnet_kernel_t kernel, ifnet_kernel_t other, const struct driver_env *env, uint32_t unit,
    int alone);

/* Misuse that is a panic of the kernel: does not return. `which` counts from 0; a number that does not exist returns. */
void driver_panic(ifnet_kernel_t kernel, const struct driver_env *env, int which);

/* The text of the panic, or null if there is no such number. */
const char *driver_panic_text(int which);

#ifdef __cplusplus
}
#endif

#endif
