/* neighbours.h - a network large enough for several threads, its training, and what the system says of this process' threads */
#ifndef DYNAMOE_TESTS_NEIGHBOURS_H
#define DYNAMOE_TESTS_NEIGHBOURS_H

#include "support.h"

#include <dirent.h>
#include <time.h>
#include <unistd.h>

enum { ROWS = 192, INPUTS = 48, CLASSES = 5, STEPS = 12 };

static const char *JSON = "{\"task\": \"classification\", \"inputs\": 48, \"outputs\": 5, \"width\": 64, \"experts\": [5, 3], "
                          "\"hidden\": 96, \"router\": {\"kind\": \"threshold\", \"target_active\": 2}}";

static float x[ROWS * INPUTS];
static int32_t classes[ROWS];

static UNUSED void make_data(void)
{
  fill(x, ROWS * INPUTS);
  label(x, ROWS, INPUTS, CLASSES, classes);
}

/* Trains a new network of this seed; NULL if a step fails. Checks nothing, so that any thread can call it. */
static UNUSED dynamoe_model *trained(uint64_t seed)
{
  dynamoe_model *model = NULL;
  dynamoe_targets targets = classes_of(classes, ROWS);
  if (dynamoe_model_create_json(JSON, strlen(JSON), seed, &model) != DYNAMOE_OK)
    return NULL;
  for (int step = 0; step < STEPS; step++)
    if (dynamoe_model_train_batch(model, x, ROWS * INPUTS, ROWS, &targets, NULL, 0, NULL) != DYNAMOE_OK)
      return NULL;
  return model;
}

/* Whether the other network has the same bits; frees it. */
static UNUSED int equals(dynamoe_model *model, dynamoe_model *other)
{
  int same = other != NULL && same_weights(model, other);
  OK(dynamoe_model_free(other));
  return same;
}

/* Threads of this process. */
static UNUSED int threads_alive(void)
{
  DIR *folder = opendir("/proc/self/task");
  int count = 0;
  for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;)
    count += entry->d_name[0] != '.';
  if (folder != NULL)
    closedir(folder);
  return count;
}

static UNUSED double seconds(clockid_t clock)
{
  struct timespec time;
  clock_gettime(clock, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static UNUSED void rest(long milliseconds)
{
  struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
  nanosleep(&time, NULL);
}

#endif
