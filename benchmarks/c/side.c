/*
 * side.c - this library through its C interface, one side of the benchmark: side FOLDER MODE
 *
 * Reads the case in FOLDER (see sides/case.py) and serves the line protocol of sides/protocol.py. MODE: infer, train, train_dx
 * (a single layer also computes the gradient by the rows) or passes (forward and backward without the optimizer).
 */
#define _POSIX_C_SOURCE 200809L
#include <dynamoe.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MOST_LAYERS = 64 };

typedef struct {
  int is_layer, has_classes;
  size_t rows, output_rows, inputs, outputs, layers, experts[MOST_LAYERS];
  const char *folder, *mode;
  void *x, *targets;
  float *y, *dx;
  dynamoe_model *model;
  dynamoe_layer *layer;
} side;

static void fail(const char *what, const char *why)
{
  fprintf(stderr, "side: %s: %s\n", what, why);
  exit(1);
}

static void check(dynamoe_status status, const char *doing)
{
  if (status != DYNAMOE_OK)
    fail(doing, dynamoe_last_error());
}

static FILE *open_file(const side *s, const char *name, const char *how)
{
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", s->folder, name);
  FILE *file = fopen(path, how);
  if (!file)
    fail(path, "cannot be opened");
  return file;
}

static void read_description(side *s)
{
  FILE *file = open_file(s, "case.txt", "r");
  char line[4096];
  while (fgets(line, sizeof line, file)) {
    char *key = strtok(line, " \n"), *word;
    struct { const char *key; size_t *value; } sizes[] = {
      {"rows", &s->rows}, {"output_rows", &s->output_rows}, {"inputs", &s->inputs}, {"outputs", &s->outputs}};
    for (size_t i = 0; key && i < sizeof sizes / sizeof sizes[0]; i++)
      if (!strcmp(key, sizes[i].key) && (word = strtok(NULL, " \n")))
        *sizes[i].value = strtoull(word, NULL, 10);
    if (key && !strcmp(key, "kind"))
      s->is_layer = !strcmp(strtok(NULL, " \n"), "layer");
    if (key && !strcmp(key, "targets"))
      s->has_classes = !strcmp(strtok(NULL, " \n"), "classes");
    if (key && !strcmp(key, "experts"))
      while ((word = strtok(NULL, " \n")) && s->layers < MOST_LAYERS)
        s->experts[s->layers++] = strtoull(word, NULL, 10);
  }
  fclose(file);
}

/* All numbers of a case have four bytes. */
static void *read_numbers(const side *s, const char *name, size_t count)
{
  FILE *file = open_file(s, name, "rb");
  void *numbers = malloc(4 * count);
  if (!numbers || fread(numbers, 4, count, file) != count)
    fail(name, "is too short");
  fclose(file);
  return numbers;
}

static void load(side *s)
{
  char path[4096];
  snprintf(path, sizeof path, "%s/model.safetensors", s->folder);
  read_description(s);
  s->x = read_numbers(s, "x.bin", s->rows * (s->inputs ? s->inputs : 1));
  s->targets = read_numbers(s, "targets.bin", s->rows * (s->has_classes ? 1 : s->outputs));
  s->y = malloc(s->rows * s->outputs * sizeof(float));
  int wants_dx = !strcmp(s->mode, "train_dx");
  s->dx = wants_dx ? malloc(s->rows * s->inputs * sizeof(float)) : NULL;
  if (!s->y || (wants_dx && !s->dx))
    fail("outputs", "no memory");
  if (s->is_layer)
    check(dynamoe_layer_load(path, &s->layer), "load");
  else
    check(dynamoe_model_load(path, &s->model), "load");
}

static void forward(side *s, size_t rows, int training)
{
  size_t count = rows * s->inputs, y_count = rows * s->outputs;
  if (s->is_layer)
    check(dynamoe_layer_forward(s->layer, s->x, count, rows, training, s->y, y_count), "forward");
  else if (s->inputs)
    check(dynamoe_model_forward(s->model, s->x, count, rows, training, s->y, y_count), "forward");
  else
    check(dynamoe_model_forward_tokens(s->model, s->x, rows, training, s->y, y_count), "forward");
}

/* A single layer has no loss of its own: the mean squared error. */
static void layer_passes(side *s, int steps)
{
  size_t count = s->rows * s->outputs;
  const float *targets = s->targets;
  forward(s, s->rows, 1);
  for (size_t i = 0; i < count; i++)
    s->y[i] = (s->y[i] - targets[i]) * (2.0f / (float)count);
  size_t dx_count = s->dx ? s->rows * s->inputs : 0;
  if (steps)
    check(dynamoe_layer_backward_step(s->layer, s->y, count, s->dx, dx_count, NAN), "backward_step");
  else
    check(dynamoe_layer_backward(s->layer, s->y, count, s->dx, dx_count), "backward");
}

static void step(side *s)
{
  dynamoe_targets targets = {0};
  if (s->has_classes)
    targets.classes = s->targets, targets.class_count = s->rows;
  else
    targets.values = s->targets, targets.value_count = s->rows * s->outputs;
  int trains = !strncmp(s->mode, "train", 5);
  if (!strcmp(s->mode, "infer")) {
    forward(s, s->rows, 0);
  } else if (s->is_layer) {
    layer_passes(s, trains);
  } else if (trains && s->inputs) {
    check(dynamoe_model_train_batch(s->model, s->x, s->rows * s->inputs, s->rows, &targets, NULL, 0, NULL), "train_batch");
  } else if (trains) {
    check(dynamoe_model_train_batch_tokens(s->model, s->x, s->rows, &targets, NULL, 0, NULL), "train_batch");
  } else {
    forward(s, s->rows, 1);
    check(dynamoe_model_backward(s->model, &targets, NULL, 0), "backward");
  }
}

static void write_output(side *s)
{
  char name[64];
  snprintf(name, sizeof name, "output-%ld.bin", (long)getpid());
  size_t rows = s->output_rows, total = 0, before = 0;
  for (size_t l = 0; l < s->layers; l++)
    total += s->experts[l];
  uint8_t *masks = malloc(rows * total), *mask = malloc(rows * total);
  if (!masks || !mask)
    fail("masks", "no memory");
  forward(s, rows, 0);
  for (size_t l = 0; l < s->layers; before += s->experts[l++]) {
    size_t count = rows * s->experts[l];
    if (s->is_layer)
      check(dynamoe_layer_last_routing(s->layer, mask, count, NULL, 0), "last_routing");
    else
      check(dynamoe_model_last_routing(s->model, l, mask, count, NULL, 0), "last_routing");
    for (size_t row = 0; row < rows; row++)
      memcpy(masks + row * total + before, mask + row * s->experts[l], s->experts[l]);
  }
  FILE *file = open_file(s, name, "wb");
  if (fwrite(s->y, sizeof(float), rows * s->outputs, file) != rows * s->outputs || fwrite(masks, 1, rows * total, file) != rows * total)
    fail(name, "could not be written");
  if (fclose(file))
    fail(name, "could not be written");
  free(masks);
  free(mask);
  printf("%s/%s\n", s->folder, name);
}

static double now(void)
{
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

int main(int count, char **arguments)
{
  if (count != 3)
    return fprintf(stderr, "usage: side FOLDER infer|train|train_dx|passes\n"), 2;
  side s = {.folder = arguments[1], .mode = arguments[2]};
  load(&s);
  puts("ready");
  fflush(stdout);
  char line[256];
  while (fgets(line, sizeof line, stdin)) {
    long steps;
    if (sscanf(line, "run %ld", &steps) == 1) {
      for (long i = 0; i < steps; i++) {
        double started = now();
        step(&s);
        printf("%.9f ", now() - started);
      }
      putchar('\n');
    } else if (!strncmp(line, "output", 6)) {
      write_output(&s);
    } else {
      break;
    }
    fflush(stdout);
  }
  return 0;
}
