/*
 * support.h - what the C tests share: counting checks, a hash of everything a handle holds, small networks
 *
 * A test is a program. Its exit code is 0 when every check passed, 1 otherwise; it prints one line per failed check and a summary.
 */
#ifndef DYNAMOE_TESTS_SUPPORT_H
#define DYNAMOE_TESTS_SUPPORT_H

#include <dynamoe.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __GNUC__
#define UNUSED __attribute__((unused))
#else
#define UNUSED
#endif

/* ------------------------------------------------------------------------------------------------ checks */

static long passed_checks, failed_checks;

static UNUSED void record(int ok, const char *file, int line, const char *what)
{
  if (ok) {
    passed_checks++;
    return;
  }
  failed_checks++;
  printf("%s:%d: failed: %s\n", file, line, what);
}

#define EXPECT(condition) record((condition) != 0, __FILE__, __LINE__, #condition)

static UNUSED void record_ok(dynamoe_status status, const char *file, int line, const char *call)
{
  record(status == DYNAMOE_OK, file, line, call);
  if (status != DYNAMOE_OK)
    printf("  %s: %s\n", dynamoe_status_name(status), dynamoe_last_error());
}

/* The call succeeds. */
#define OK(call) record_ok((call), __FILE__, __LINE__, #call)

/* The call cannot be done without: a test that cannot be set up is a failed test. */
static UNUSED void require_ok(dynamoe_status status, const char *file, int line, const char *call)
{
  record_ok(status, file, line, call);
  if (status != DYNAMOE_OK) {
    printf("%ld passed, %ld failed, and the rest could not run\n", passed_checks, failed_checks);
    exit(1);
  }
}

#define REQUIRE_OK(call) require_ok((call), __FILE__, __LINE__, #call)

static UNUSED void record_refused(dynamoe_status status, dynamoe_status wanted, const char *word, const char *file, int line,
                                  const char *call)
{
  const char *message = dynamoe_last_error();
  int ok = status == wanted && message[0] != '\0' && strstr(message, word) != NULL;
  record(ok, file, line, call);
  if (!ok)
    printf("  wanted %s naming \"%s\", came %s: %s\n", dynamoe_status_name(wanted), word, dynamoe_status_name(status),
           status == DYNAMOE_OK ? "" : message);
}

/* The call is refused with this status, in a message that has this word. */
#define REFUSED(status, word, call) record_refused((call), (status), (word), __FILE__, __LINE__, #call)

static UNUSED int finish(const char *name)
{
  printf("%s: %ld passed, %ld failed\n", name, passed_checks, failed_checks);
  return failed_checks != 0 || passed_checks == 0;
}

/* ------------------------------------------------------------------------------------------------ data */

static uint64_t generator_state = 42;

/* Uniform in -1 ... 1, the same on every machine. */
static UNUSED float uniform(void)
{
  generator_state = generator_state * 6364136223846793005u + 1442695040888963407u;
  return (float)(2.0 * (double)(generator_state >> 11) / 9007199254740992.0 - 1.0);
}

static UNUSED void fill(float *values, size_t count)
{
  for (size_t i = 0; i < count; i++)
    values[i] = uniform();
}

/* Class of a row: which of the first `classes` features is largest. */
static UNUSED void label(const float *x, size_t rows, size_t inputs, int32_t classes, int32_t *targets)
{
  for (size_t row = 0; row < rows; row++) {
    targets[row] = 0;
    for (int32_t class = 1; class < classes; class++)
      if (x[row * inputs + (size_t)class] > x[row * inputs + (size_t)targets[row]])
        targets[row] = class;
  }
}

static UNUSED dynamoe_targets classes_of(const int32_t *classes, size_t count)
{
  dynamoe_targets targets = {classes, count, NULL, 0};
  return targets;
}

static UNUSED dynamoe_targets values_of(const float *values, size_t count)
{
  dynamoe_targets targets = {NULL, 0, values, count};
  return targets;
}

static UNUSED dynamoe_model *model_of(const char *json, uint64_t seed)
{
  dynamoe_model *model = NULL;
  REQUIRE_OK(dynamoe_model_create_json(json, strlen(json), seed, &model));
  return model;
}

static UNUSED dynamoe_layer *layer_of(const char *json, uint64_t seed)
{
  dynamoe_layer *layer = NULL;
  REQUIRE_OK(dynamoe_layer_create_json(json, strlen(json), seed, &layer));
  return layer;
}

/* ------------------------------------------------------------------------------------------------ fingerprints */

static UNUSED uint64_t hash(uint64_t seed, const void *bytes, size_t count)
{
  const unsigned char *cursor = bytes;
  for (size_t i = 0; i < count; i++)
    seed = (seed ^ cursor[i]) * 1099511628211u;
  return seed;
}

/* The folder for files of this test: the first argument of the program, else the current one. */
static const char *test_folder = ".";

static UNUSED const char *in_folder(const char *name)
{
  static char path[4][4096];
  static unsigned next;
  char *text = path[next++ % 4];
  snprintf(text, sizeof path[0], "%s/%s", test_folder, name);
  return text;
}

/* All bytes of a file; *count is their number. The caller frees them. */
static UNUSED unsigned char *read_file(const char *path, size_t *count)
{
  FILE *file = fopen(path, "rb");
  *count = 0;
  if (file == NULL)
    return NULL;
  size_t capacity = 1 << 16;
  unsigned char *bytes = malloc(capacity);
  while (bytes != NULL) {
    size_t read = fread(bytes + *count, 1, capacity - *count, file);
    *count += read;
    if (*count < capacity)
      break;
    unsigned char *larger = realloc(bytes, capacity *= 2);
    if (larger == NULL)
      free(bytes);
    bytes = larger;
  }
  fclose(file);
  return bytes;
}

static UNUSED int write_file(const char *path, const void *bytes, size_t count)
{
  FILE *file = fopen(path, "wb");
  if (file == NULL)
    return 0;
  size_t written = fwrite(bytes, 1, count, file);
  return fclose(file) == 0 && written == count;
}

static UNUSED uint64_t hash_file(uint64_t seed, const char *path)
{
  size_t count;
  unsigned char *bytes = read_file(path, &count);
  EXPECT(bytes != NULL && count > 0);
  seed = hash(seed, bytes, bytes ? count : 0);
  free(bytes);
  return seed;
}

/*
 * A hash of everything that a handle holds: the saved file (parameters, buffers, optimizer and random state, configuration), the
 * gradients, the statistics of all layers and the counters. The same code for both kinds of handle.
 */
#define DEFINE_FINGERPRINT(kind, LAYER_ARGUMENT)                                                                               \
  static UNUSED uint64_t kind##_fingerprint(dynamoe_##kind *handle)                                                            \
  {                                                                                                                            \
    uint64_t value = 14695981039346656037u;                                                                                    \
    dynamoe_info info = {.struct_size = sizeof info};                                                                          \
    OK(dynamoe_##kind##_info(handle, &info));                                                                                  \
    value = hash(value, &info, sizeof info);                                                                                   \
    for (size_t i = 0; i < (size_t)info.tensor_count; i++) {                                                                   \
      dynamoe_tensor tensor = {.struct_size = sizeof tensor};                                                                  \
      OK(dynamoe_##kind##_parameter(handle, i, &tensor));                                                                      \
      value = hash(value, tensor.data, tensor.count * sizeof(float));                                                          \
      value = hash(value, tensor.gradient, tensor.count * sizeof(float));                                                      \
    }                                                                                                                          \
    for (size_t layer = 0; layer < (size_t)info.layers; layer++) {                                                             \
      static int64_t histogram[65], rows[64], pairs[64 * 64];                                                                  \
      static double weights[64];                                                                                               \
      memset(histogram, 0, sizeof histogram);                                                                                  \
      memset(rows, 0, sizeof rows);                                                                                            \
      memset(weights, 0, sizeof weights);                                                                                      \
      memset(pairs, 0, sizeof pairs);                                                                                          \
      dynamoe_routing_statistics statistics = {.struct_size = sizeof statistics};                                              \
      OK(dynamoe_##kind##_routing_statistics(handle, LAYER_ARGUMENT & statistics, histogram, 65, rows, 64, weights, 64, pairs, \
                                             64 * 64));                                                                        \
      value = hash(value, &statistics, sizeof statistics);                                                                     \
      value = hash(value, histogram, sizeof histogram);                                                                        \
      value = hash(value, rows, sizeof rows);                                                                                  \
      value = hash(value, weights, sizeof weights);                                                                            \
      value = hash(value, pairs, sizeof pairs);                                                                                \
    }                                                                                                                          \
    size_t last_rows = 0;                                                                                                      \
    OK(dynamoe_##kind##_last_rows(handle, &last_rows));                                                                        \
    value = hash(value, &last_rows, sizeof last_rows);                                                                         \
    OK(dynamoe_##kind##_save(handle, in_folder("fingerprint.safetensors")));                                                   \
    return hash_file(value, in_folder("fingerprint.safetensors"));                                                             \
  }

#define LAYER_INDEX layer,
#define NO_INDEX
DEFINE_FINGERPRINT(model, LAYER_INDEX)
DEFINE_FINGERPRINT(layer, NO_INDEX)

/* The same bits in all parameters and buffers of two models. */
static UNUSED int same_weights(dynamoe_model *a, dynamoe_model *b)
{
  dynamoe_info info = {.struct_size = sizeof info}, other = {.struct_size = sizeof other};
  REQUIRE_OK(dynamoe_model_info(a, &info));
  REQUIRE_OK(dynamoe_model_info(b, &other));
  if (info.tensor_count != other.tensor_count || info.buffer_count != other.buffer_count || info.tensor_count == 0)
    return 0;
  for (size_t i = 0; i < (size_t)(info.tensor_count + info.buffer_count); i++) {
    dynamoe_tensor left = {.struct_size = sizeof left}, right = {.struct_size = sizeof right};
    size_t buffer = i - (size_t)info.tensor_count;
    if (i < (size_t)info.tensor_count) {
      REQUIRE_OK(dynamoe_model_parameter(a, i, &left));
      REQUIRE_OK(dynamoe_model_parameter(b, i, &right));
    } else {
      REQUIRE_OK(dynamoe_model_buffer(a, buffer, &left));
      REQUIRE_OK(dynamoe_model_buffer(b, buffer, &right));
    }
    if (strcmp(left.name, right.name) != 0 || left.count != right.count ||
        memcmp(left.data, right.data, left.count * sizeof(float)) != 0)
      return 0;
  }
  return 1;
}

#endif
