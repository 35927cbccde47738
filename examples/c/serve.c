/*
 * Serves a saved network from several threads: a dynamoe_session for each, all on the same weights.
 *
 *     ./serve spirals.safetensors < rows.txt      answers for the rows of standard input, one a line
 *     ./serve spirals.safetensors 2 1000000       2 threads, a million random rows; default: a thread per processor
 *
 * A row is a line of as many numbers as the network has inputs (of a language model one token id), apart by blanks or commas.
 * The answer is the class with the largest logit, of a regression its values; how fast it went is on standard error.
 */
#define _POSIX_C_SOURCE 200809L
#include <dynamoe.h>

#include <ctype.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCH = 64, MOST_THREADS = 256, SHOWN = 5 };

typedef struct rows {
  size_t count, columns;
  float *x;     /* [count, columns], or */
  int32_t *ids; /* [count] */
} rows;

/* What the threads share: each takes the next batch that nobody has. */
static rows served;
static float *logits;
static size_t outputs;
static atomic_size_t next_row;

static void fail(const char *what, const char *why)
{
  fprintf(stderr, "serve: %s: %s\n", what, why);
  exit(1);
}

static void check(dynamoe_status status, const char *what)
{
  if (status != DYNAMOE_OK)
    fail(what, dynamoe_last_error());
}

static void *allocated(size_t count, size_t size)
{
  void *memory = calloc(count > 0 ? count : 1, size);
  if (memory == NULL)
    fail("rows", "no memory for them");
  return memory;
}

static void *serve(void *session)
{
  for (;;) {
    size_t first = atomic_fetch_add(&next_row, BATCH);
    if (first >= served.count)
      return NULL;
    size_t count = served.count - first < BATCH ? served.count - first : BATCH;
    float *answers = logits + first * outputs;
    if (served.ids != NULL)
      check(dynamoe_session_forward_tokens(session, served.ids + first, count, answers, count * outputs), "forward");
    else
      check(dynamoe_session_forward(session, served.x + first * served.columns, count * served.columns, count, answers,
                                    count * outputs),
            "forward");
  }
}

/* ------------------------------------------------------------------------------------------------ rows */

/* Standard input to its end, with a NUL behind it. */
static char *read_input(void)
{
  size_t count = 0, capacity = 1 << 16;
  char *text = malloc(capacity);
  while (text != NULL) {
    count += fread(text + count, 1, capacity - count - 1, stdin);
    if (count < capacity - 1)
      break;
    char *larger = realloc(text, capacity *= 2);
    if (larger == NULL)
      free(text);
    text = larger;
  }
  if (text == NULL || ferror(stdin))
    fail("standard input", "cannot be read");
  text[count] = '\0';
  return text;
}

static char *skip_blanks(char *cursor)
{
  while (*cursor == ' ' || *cursor == '\t' || *cursor == '\r' || *cursor == ',')
    cursor++;
  return cursor;
}

/* The numbers of one line; how many there are. */
static size_t parse_line(char *line, float *values, size_t room)
{
  size_t count = 0;
  for (line = skip_blanks(line); *line != '\0' && *line != '\n'; line = skip_blanks(line)) {
    char *end;
    float value = strtof(line, &end);
    if (end == line || (*end != '\0' && !isspace((unsigned char)*end) && *end != ','))
      fail("a row of standard input has something that is not a number", line);
    if (count < room)
      values[count] = value;
    count++;
    line = end;
  }
  return count;
}

static void read_rows(rows *into, int tokens)
{
  char *text = read_input();
  size_t lines = 1;
  for (char *cursor = text; *cursor != '\0'; cursor++)
    lines += *cursor == '\n';
  into->x = allocated(lines * into->columns, sizeof(float));
  for (char *line = text; line != NULL;) {
    char *end = strchr(line, '\n');
    size_t count = parse_line(line, into->x + into->count * into->columns, into->columns);
    if (count != 0 && count != into->columns) {
      char why[96];
      snprintf(why, sizeof why, "it has %zu numbers, allowed: inputs = %zu", count, into->columns);
      fail("a row of standard input", why);
    }
    into->count += count != 0;
    line = end == NULL ? NULL : end + 1;
  }
  free(text);
  if (tokens) {
    into->ids = allocated(into->count, sizeof(int32_t));
    for (size_t row = 0; row < into->count; row++)
      into->ids[row] = (int32_t)into->x[row];
  }
}

/* Uniform in -1 ... 1, or token ids. */
static void make_rows(rows *into, size_t count, int64_t vocabulary)
{
  uint64_t state = 1;
  into->count = count;
  if (vocabulary > 0)
    into->ids = allocated(count, sizeof(int32_t));
  else
    into->x = allocated(count * into->columns, sizeof(float));
  for (size_t i = 0; i < count * into->columns; i++) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    double uniform = (double)(state >> 11) / 9007199254740992.0;
    if (vocabulary > 0)
      into->ids[i] = (int32_t)(uniform * (double)vocabulary);
    else
      into->x[i] = (float)(2 * uniform - 1);
  }
}

/* ------------------------------------------------------------------------------------------------ answers */

static void print_answers(size_t count, int regression)
{
  for (size_t row = 0; row < count; row++) {
    const float *answer = logits + row * outputs;
    if (regression) {
      for (size_t i = 0; i < outputs; i++)
        printf("%s%g", i > 0 ? " " : "", (double)answer[i]);
      printf("\n");
      continue;
    }
    size_t best = 0;
    for (size_t i = 1; i < outputs; i++)
      if (answer[i] > answer[best])
        best = i;
    printf("%zu\n", best);
  }
}

static double seconds(void)
{
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static long whole(const char *name, const char *text, long most)
{
  char *end;
  long value = strtol(text, &end, 10);
  if (end == text || *end != '\0' || value < 1 || value > most)
    fail(name, "allowed is a whole number of at least 1, threads at most 256");
  return value;
}

int main(int argc, char **argv)
{
  if (argc < 2 || argc > 4)
    fail("usage", "serve MODEL [THREADS [ROWS]]");
  int threads = argc > 2 ? (int)whole("THREADS", argv[2], MOST_THREADS) : (int)dynamoe_threads_get();

  dynamoe_model *model;
  check(dynamoe_model_load(argv[1], &model), argv[1]);
  dynamoe_info info = {.struct_size = sizeof info};
  check(dynamoe_model_info(model, &info), "info");
  outputs = (size_t)info.outputs;
  served.columns = info.vocabulary > 0 ? 1 : (size_t)info.inputs;
  if (argc > 3)
    make_rows(&served, (size_t)whole("ROWS", argv[3], 1L << 40), info.vocabulary);
  else
    read_rows(&served, info.vocabulary > 0);
  logits = allocated(served.count * outputs, sizeof(float));

  dynamoe_session *sessions[MOST_THREADS];
  pthread_t ids[MOST_THREADS];
  for (int i = 0; i < threads; i++)
    check(dynamoe_session_create(model, &sessions[i]), "session");
  /* The sessions keep the network. */
  check(dynamoe_model_free(model), "free");

  double start = seconds();
  for (int i = 0; i < threads; i++)
    if (pthread_create(&ids[i], NULL, serve, sessions[i]) != 0)
      fail("threads", "the system refuses them");
  for (int i = 0; i < threads; i++)
    pthread_join(ids[i], NULL);
  double time = seconds() - start;

  print_answers(argc > 3 && served.count > SHOWN ? SHOWN : served.count, info.task == DYNAMOE_TASK_REGRESSION);
  fprintf(stderr, "%zu rows in %.3f s, %.0f rows/s, by", served.count, time, (double)served.count / time);
  for (int i = 0; i < threads; i++) {
    dynamoe_routing_statistics statistics = {.struct_size = sizeof statistics};
    check(dynamoe_session_routing_statistics(sessions[i], 0, &statistics, NULL, 0, NULL, 0, NULL, 0, NULL, 0), "statistics");
    fprintf(stderr, "%s %lld", i > 0 ? " +" : "", (long long)statistics.rows);
    check(dynamoe_session_free(sessions[i]), "free");
  }
  fprintf(stderr, " rows of %d thread%s\n", threads, threads == 1 ? "" : "s");
  free(served.x);
  free(served.ids);
  free(logits);
  return 0;
}
