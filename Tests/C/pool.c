/* The worker threads: as many as were asked for, asleep when there is nothing to do, the same results with any number. */
#define _GNU_SOURCE
#include "neighbours.h"

#include <sched.h>
#include <sys/wait.h>

/* As many threads as were asked for, also one and more than there are processors. */
static void counted(dynamoe_model *expected)
{
  static const int32_t counts[] = {4, 1, 9, 2, 1, 3};
  for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
    OK(dynamoe_threads_set(counts[i]));
    EXPECT(dynamoe_threads_get() == counts[i]);
    EXPECT(equals(expected, trained(1)));
    EXPECT(threads_alive() == counts[i]);
  }
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "257", dynamoe_threads_set(257));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "0", dynamoe_threads_set(0));
  EXPECT(dynamoe_threads_get() == 3);
}

/* A tenth of a second after the last call nobody uses a processor. */
static void idle(dynamoe_model *expected)
{
  static const int32_t counts[] = {2, 8};
  for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
    OK(dynamoe_threads_set(counts[i]));
    EXPECT(equals(expected, trained(1)));
    rest(100);
    double before = seconds(CLOCK_PROCESS_CPUTIME_ID);
    rest(300);
    double used = seconds(CLOCK_PROCESS_CPUTIME_ID) - before;
    printf("  %d threads at rest used %.0f microseconds of 300 milliseconds\n", (int)counts[i], 1e6 * used);
    EXPECT(used < 0.005);
  }
}

/* The exit code of this program started anew with DYNAMOE_THREADS = value and an argument. */
static int started_with(const char *value, const char *argument)
{
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    alarm(60);
    if (setenv("DYNAMOE_THREADS", value, 1) == 0)
      execl("/proc/self/exe", "pool", test_folder, argument, (char *)NULL);
    _exit(99);
  }
  int status = -1;
  if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
    return -1;
  return WEXITSTATUS(status);
}

/* In the program started anew: the number of threads, or 77 when the setting is refused with its name. */
static int tell_threads(const char *argument)
{
  dynamoe_model *model = trained(1);
  if (strcmp(argument, "refused") == 0)
    return model == NULL && strstr(dynamoe_last_error(), "DYNAMOE_THREADS") != NULL ? 77 : 78;
  return model != NULL && threads_alive() == dynamoe_threads_get() ? threads_alive() : 0;
}

static void environment(void)
{
  EXPECT(started_with("1", "count") == 1);
  EXPECT(started_with("2", "count") == 2);
  EXPECT(started_with("11", "count") == 11);
  cpu_set_t allowed;
  EXPECT(sched_getaffinity(0, sizeof allowed, &allowed) == 0);
  EXPECT(started_with("", "count") == CPU_COUNT(&allowed));
  static const char *const wrong[] = {"0", "257", "-1", "two", "2 "};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
    EXPECT(started_with(wrong[i], "refused") == 77);
}

int main(int argc, char **argv)
{
  if (argc > 1)
    test_folder = argv[1];
  make_data();
  if (argc > 2)
    return tell_threads(argv[2]);
  OK(dynamoe_threads_set(1));
  dynamoe_model *serial = trained(1);
  EXPECT(serial != NULL);
  counted(serial);
  idle(serial);
  environment();
  OK(dynamoe_model_free(serial));
  return finish("pool");
}
