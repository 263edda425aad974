/*
 * The tests of what a host may leave out.
 */
#ifndef IFNET_TESTS_HOOKS_H
#define IFNET_TESTS_HOOKS_H

#ifdef __cplusplus
extern "C" {
#endif

/* 0, or the line of hooks.c whose check failed. */
int hooks_run(void);

#ifdef __cplusplus
}
#endif

#endif
