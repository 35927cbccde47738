/// What Swift cannot say itself: atomic words at a known address (a futex needs the address), the
/// futex calls, the pause instruction, processor features, where a thread runs and may run. Static inline
/// only: nothing of this is exported.
#ifndef DYNAMOE_PLATFORM_H
#define DYNAMOE_PLATFORM_H

#include <stdbool.h>
#include <stdint.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static inline uint32_t dynamoe_load32(const uint32_t *_Nonnull word) {
  return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static inline void dynamoe_store32(uint32_t *_Nonnull word, uint32_t value) {
  __atomic_store_n(word, value, __ATOMIC_SEQ_CST);
}

/// Adds and returns the value before.
static inline uint32_t dynamoe_add32(uint32_t *_Nonnull word, uint32_t value) {
  return __atomic_fetch_add(word, value, __ATOMIC_SEQ_CST);
}

/// Subtracts and returns the value before.
static inline uint32_t dynamoe_subtract32(uint32_t *_Nonnull word, uint32_t value) {
  return __atomic_fetch_sub(word, value, __ATOMIC_SEQ_CST);
}

static inline bool dynamoe_exchange32(
    uint32_t *_Nonnull word, uint32_t expected, uint32_t desired) {
  return __atomic_compare_exchange_n(
      word, &expected, desired, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

/// Writes the larger of what there is and `value`.
static inline void dynamoe_max32(uint32_t *_Nonnull word, uint32_t value) {
  uint32_t before = __atomic_load_n(word, __ATOMIC_RELAXED);
  while (before < value &&
         !__atomic_compare_exchange_n(
             word, &before, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
}

static inline uint64_t dynamoe_load64(const uint64_t *_Nonnull word) {
  return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static inline void dynamoe_store64(uint64_t *_Nonnull word, uint64_t value) {
  __atomic_store_n(word, value, __ATOMIC_SEQ_CST);
}

static inline bool dynamoe_exchange64(
    uint64_t *_Nonnull word, uint64_t expected, uint64_t desired) {
  return __atomic_compare_exchange_n(
      word, &expected, desired, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static inline uint64_t dynamoe_add64(uint64_t *_Nonnull word, uint64_t value) {
  return __atomic_fetch_add(word, value, __ATOMIC_RELAXED);
}

static inline uint64_t dynamoe_or64(uint64_t *_Nonnull word, uint64_t bits) {
  return __atomic_fetch_or(word, bits, __ATOMIC_SEQ_CST);
}

static inline uint64_t dynamoe_and64(uint64_t *_Nonnull word, uint64_t bits) {
  return __atomic_fetch_and(word, bits, __ATOMIC_SEQ_CST);
}

/// Sleeps while `*word == value`; may return early.
static inline void dynamoe_futex_wait(uint32_t *_Nonnull word, uint32_t value) {
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, (void *)0, (void *)0, 0);
}

/// `dynamoe_futex_wait` for at most `nanoseconds`, which are less than a second.
static inline void dynamoe_futex_wait_for(
    uint32_t *_Nonnull word, uint32_t value, long nanoseconds) {
  const struct timespec time = {0, nanoseconds};
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, &time, (void *)0, 0);
}

static inline void dynamoe_futex_wake(uint32_t *_Nonnull word, int count) {
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, (void *)0, (void *)0, 0);
}

/// Number by which the system knows the calling thread.
static inline uint32_t dynamoe_thread(void) {
  return (uint32_t)syscall(SYS_gettid);
}

/// Nanoseconds of processor time that a thread of this process has had; 0 if the system does not
/// say. While the thread runs, two calls never give the same.
static inline uint64_t dynamoe_processor_time(uint32_t thread) {
  // The system's name for this clock: the thread, that it is one thread's (4), what it counts (2).
  const clockid_t clock = (clockid_t)(~thread << 3 | 6);
  struct timespec time;
  return clock_gettime(clock, &time) == 0
      ? (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec
      : 0;
}

/// `fork`, which Swift does not offer because most programs have threads.
static inline pid_t dynamoe_fork(void) {
  return fork();
}

/// Tells the processor that this thread spins.
static inline void dynamoe_pause(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

/// Processors this thread may run on; 0 if the system does not say.
static inline int dynamoe_affinity_count(void) {
  unsigned long mask[1024];  // 65,536 processors
  long bytes = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
  int count = 0;
  for (long i = 0; i < bytes / (long)sizeof mask[0]; i++) {
    count += __builtin_popcountl(mask[i]);
  }
  return count;
}

/// Declared by <sched.h> only for programs that ask for GNU extensions.
extern int sched_getcpu(void);

/// Number of the processor that runs this thread, -1 if the system does not say.
static inline int32_t dynamoe_processor(void) {
  return sched_getcpu();
}

/// Moves the calling thread to another processor than `processor`, if its affinity mask has one;
/// the mask stays as it was.
static inline void dynamoe_leave_processor(int processor) {
  unsigned long mask[1024];
  const int bits = 8 * sizeof mask[0];
  long bytes = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
  if (processor < 0 || processor >= 8 * bytes) {
    return;
  }
  unsigned long word = mask[processor / bits];
  unsigned long others = word & ~(1ul << processor % bits);
  mask[processor / bits] = others;
  bool any = false;
  for (long i = 0; i < bytes / (long)sizeof mask[0]; i++) {
    any = any || mask[i] != 0;
  }
  if (others != word && any && syscall(SYS_sched_setaffinity, 0, bytes, mask) == 0) {
    mask[processor / bits] = word;
    syscall(SYS_sched_setaffinity, 0, bytes, mask);
  }
}

/// Moves a thread of this process to `processor`, if its affinity mask has it; the mask stays as it
/// was.
static inline void dynamoe_move_thread(uint32_t thread, uint32_t processor) {
  unsigned long mask[1024], one[1024] = {0};
  const unsigned bits = 8 * sizeof mask[0];
  long bytes = syscall(SYS_sched_getaffinity, thread, sizeof mask, mask);
  if (bytes <= 0 || processor / 8 >= (unsigned long)bytes) {
    return;
  }
  one[processor / bits] = 1ul << processor % bits;
  if ((mask[processor / bits] & one[processor / bits]) != 0 &&
      syscall(SYS_sched_setaffinity, thread, bytes, one) == 0) {
    syscall(SYS_sched_setaffinity, thread, bytes, mask);
  }
}

#if defined(__x86_64__)
#define DYNAMOE_FEATURE(function, name)                \
  static inline bool dynamoe_cpu_has_##function(void) { \
    __builtin_cpu_init();                              \
    return __builtin_cpu_supports(name);               \
  }
#else
#define DYNAMOE_FEATURE(function, name) \
  static inline bool dynamoe_cpu_has_##function(void) { return false; }
#endif

DYNAMOE_FEATURE(sse2, "sse2")
DYNAMOE_FEATURE(sse42, "sse4.2")
DYNAMOE_FEATURE(avx, "avx")
DYNAMOE_FEATURE(avx2, "avx2")
DYNAMOE_FEATURE(fma, "fma")
DYNAMOE_FEATURE(bmi1, "bmi")
DYNAMOE_FEATURE(bmi2, "bmi2")
DYNAMOE_FEATURE(f16c, "f16c")
DYNAMOE_FEATURE(avx512f, "avx512f")
DYNAMOE_FEATURE(avx512bw, "avx512bw")
DYNAMOE_FEATURE(avx512cd, "avx512cd")
DYNAMOE_FEATURE(avx512dq, "avx512dq")
DYNAMOE_FEATURE(avx512vl, "avx512vl")
DYNAMOE_FEATURE(avx512bf16, "avx512bf16")
DYNAMOE_FEATURE(avx512vnni, "avx512vnni")
DYNAMOE_FEATURE(x86_64_v3, "x86-64-v3")
DYNAMOE_FEATURE(x86_64_v4, "x86-64-v4")

#undef DYNAMOE_FEATURE

/// Whether `vdpbf16ps` does more in a cycle than multiply-adds of f32. Intel's cores begin one every other cycle, which
/// makes half of what their f32 units do (measured on Emerald Rapids: 85 against 172 GFLOP/s); Zen 4 and 5 twice it.
static inline bool dynamoe_cpu_has_fast_avx512bf16(void) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512bf16") && !__builtin_cpu_is("intel");
#else
  return false;
#endif
}

#endif
