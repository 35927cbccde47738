/*
 * machine.c - the limits of this machine as one JSON object: peak of fused multiply-adds, and read bandwidth of the second and third
 * cache level and of memory, on one thread and on two
 *
 *     machine            medians over 15 samples of some milliseconds
 *     machine quick      over 3
 */
#define _GNU_SOURCE
#include <immintrin.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FMA_ITERATIONS = 200000, MOST_SAMPLES = 101 };

typedef float (*kernel)(const float *data, size_t count);
static volatile float sink;

/* Twelve (AVX2) or 24 (AVX-512) independent accumulators without loads: only the multiply-adds limit it. */
#define FMA_KERNEL(NAME, TARGET, VECTOR, ACCUMULATORS, SET, MULTIPLY_ADD)                                      \
  __attribute__((target(TARGET), noinline)) static float NAME(const float *data, size_t count)                \
  {                                                                                                            \
    VECTOR sums[ACCUMULATORS], a = SET(0.999f), b = SET(1e-3f);                                                \
    (void)data;                                                                                                \
    for (int i = 0; i < ACCUMULATORS; i++)                                                                     \
      sums[i] = SET((float)i);                                                                                 \
    __asm__ volatile("" : "+v"(a), "+v"(b));                                                                   \
    for (size_t k = 0; k < count; k++)                                                                         \
      _Pragma("GCC unroll 24") for (int i = 0; i < ACCUMULATORS; i++) sums[i] = MULTIPLY_ADD(sums[i], a, b);  \
    for (int i = 1; i < ACCUMULATORS; i++)                                                                     \
      sums[0] += sums[i];                                                                                      \
    return sums[0][0];                                                                                         \
  }

/* Sums of vectors, unrolled so that loads and not additions limit it; count is a multiple of 128. */
#define READ_KERNEL(NAME, TARGET, VECTOR, LANES, SET, LOAD)                                                    \
  __attribute__((target(TARGET), noinline)) static float NAME(const float *data, size_t count)                \
  {                                                                                                            \
    VECTOR sums[8];                                                                                            \
    for (int i = 0; i < 8; i++)                                                                                \
      sums[i] = SET(0.0f);                                                                                     \
    for (size_t k = 0; k < count; k += 8 * LANES)                                                              \
      _Pragma("GCC unroll 8") for (int i = 0; i < 8; i++) sums[i] += LOAD(data + k + LANES * i);              \
    for (int i = 1; i < 8; i++)                                                                                \
      sums[0] += sums[i];                                                                                      \
    return sums[0][0];                                                                                         \
  }

FMA_KERNEL(fma_512, "avx512f", __m512, 24, _mm512_set1_ps, _mm512_fmadd_ps)
FMA_KERNEL(fma_256, "avx2,fma", __m256, 12, _mm256_set1_ps, _mm256_fmadd_ps)
READ_KERNEL(read_512, "avx512f", __m512, 16, _mm512_set1_ps, _mm512_loadu_ps)
READ_KERNEL(read_256, "avx2", __m256, 8, _mm256_set1_ps, _mm256_loadu_ps)

typedef struct {
  kernel function;
  const float *data;
  size_t count;
  int repeats;
  double seconds;
  atomic_int *arrived; /* counts up; a multiple of `threads` lets all go on */
  int threads;
} job;

/* Spins: a thread that sleeps in a barrier wakes up tens of microseconds after the other. */
static void meet(job *j, int time)
{
  atomic_fetch_add(j->arrived, 1);
  while (atomic_load(j->arrived) < time * j->threads)
    ;
}

static double now(void)
{
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void *work(void *argument)
{
  job *j = argument;
  sink = j->function(j->data, j->count);
  meet(j, 1);
  double started = now();
  for (int i = 0; i < j->repeats; i++)
    sink = j->function(j->data, j->count);
  meet(j, 2);
  j->seconds = (now() - started) / j->repeats;
  return NULL;
}

static int ascending(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* The median over samples of the seconds of one call on each of 1 or 2 threads at once. */
static double seconds(int threads, kernel function, float *const data[2], size_t count, int repeats, int samples)
{
  double all[MOST_SAMPLES];
  for (int sample = 0; sample < samples; sample++) {
    atomic_int arrived = 0;
    pthread_t other;
    job jobs[2];
    for (int t = 0; t < threads; t++)
      jobs[t] = (job){function, data[t], count, repeats, 0, &arrived, threads};
    if (threads == 2 && pthread_create(&other, NULL, work, &jobs[1]))
      exit(1);
    work(&jobs[0]);
    if (threads == 2)
      pthread_join(other, NULL);
    all[sample] = jobs[0].seconds;
  }
  qsort(all, (size_t)samples, sizeof all[0], ascending);
  return all[samples / 2];
}

int main(int count, char **arguments)
{
  int wide = __builtin_cpu_supports("avx512f");
  if (!wide && !(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")))
    return fprintf(stderr, "machine: this processor has no AVX2 with FMA\n"), 1;
  kernel fma = wide ? fma_512 : fma_256, read = wide ? read_512 : read_256;
  int samples = count > 1 && !strcmp(arguments[1], "quick") ? 3 : 15;
  double operations = FMA_ITERATIONS * (wide ? 24.0 * 16 * 2 : 12.0 * 8 * 2);
  float *data[2] = {NULL, NULL};
  printf("{\"vectors\": \"%s\"", wide ? "AVX-512" : "AVX2");
  for (int threads = 1; threads <= 2; threads++)
    printf(", \"fma_%d\": %.1f", threads, 1e-9 * threads * operations / seconds(threads, fma, data, FMA_ITERATIONS, 6, samples));

  /* What one thread reads: its own second level, half of a part of the third, and far more than that. */
  struct { const char *name; size_t bytes; } levels[] = {{"l2", 512 << 10}, {"l3", 6 << 20}, {"dram", 256 << 20}};
  for (int t = 0; t < 2; t++) {
    if (!(data[t] = aligned_alloc(4096, levels[2].bytes)))
      return fprintf(stderr, "machine: no memory\n"), 1;
    memset(data[t], 0, levels[2].bytes);
  }
  for (int level = 0; level < 3; level++) {
    size_t elements = levels[level].bytes / sizeof(float);
    int repeats = (int)((1u << 30) / levels[level].bytes);
    for (int threads = 1; threads <= 2; threads++)
      printf(", \"%s_read_%d\": %.1f", levels[level].name, threads,
             1e-9 * threads * (double)levels[level].bytes / seconds(threads, read, data, elements, repeats, samples));
  }
  puts("}");
  return 0;
}
