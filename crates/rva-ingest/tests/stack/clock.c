// LD_PRELOAD: the wall clock of one process, CLOCK_OFFSET seconds off.
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *at) {
  int failed = (int)syscall(SYS_clock_gettime, clock, at);
  const char *offset = getenv("CLOCK_OFFSET");
  if (!failed && clock == CLOCK_REALTIME && offset) at->tv_sec += atol(offset);
  return failed;
}
