/*
 * A system that has all that a host can have; see system.c.
 */
#ifndef IFNET_TESTS_SYSTEM_H
#define IFNET_TESTS_SYSTEM_H

#include "ifnet.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A frame, with at most one tag. */
struct mbuf {
	uint8_t destination[6], source[6];
	int tag;
};

/* What the functions have counted, and what they are told: whether this is a handler, and the panic that is expected. */
extern struct seen {
	long packets, locks, locked, queued, waits;
	int in_interrupt;
	const char *expected;
} seen;

struct mbuf *m_get(void *arg);

/* A host with every function. */
struct ifnet_host everything(void);

#ifdef __cplusplus
}
#endif

#endif
