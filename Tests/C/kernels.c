/* DYNAMOE_KERNELS: every set of kernels is chosen when the program starts and trains the same network. */
#define _POSIX_C_SOURCE 200809L
#include "neighbours.h"

#include <sys/wait.h>

enum { LOGITS = ROWS * CLASSES };

static const char *const NAMES[] = {"reference", "v4", "v3", "baseline", "openblas"};
enum { COUNT = sizeof NAMES / sizeof NAMES[0] };

/* The exit code of this program started anew with DYNAMOE_KERNELS = name. */
static int started_with(const char *name)
{
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    alarm(300);
    if (setenv("DYNAMOE_KERNELS", name, 1) == 0)
      execl("/proc/self/exe", "kernels", test_folder, name, (char *)NULL);
    _exit(99);
  }
  int status = -1;
  if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
    return -1;
  return WEXITSTATUS(status);
}

/* In the program started anew: writes what a trained network predicts. 0, or 77 when the kernels are refused by name. */
static int predict(const char *name)
{
  static float logits[LOGITS];
  char field[64];
  make_data();
  snprintf(field, sizeof field, "\"kernels\": \"%s\"", name);
  dynamoe_model *model = NULL;
  if (dynamoe_model_create_json(JSON, strlen(JSON), 1, &model) == DYNAMOE_ERROR_BACKEND) {
    int named = strstr(dynamoe_last_error(), name) != NULL;
    int told = strstr(dynamoe_build_info(), "\"kernels_error\"") != NULL;
    if (!named || !told)
      printf("%s\n%s\n", dynamoe_last_error(), dynamoe_build_info());
    return named && told ? 77 : 1;
  }
  model = trained(1);
  if (model == NULL || (strstr(dynamoe_build_info(), field) == NULL && name[0] != '\0')) {
    printf("%s\n", dynamoe_build_info());
    return 2;
  }
  if (dynamoe_model_forward(model, x, ROWS * INPUTS, ROWS, 0, logits, LOGITS) != DYNAMOE_OK)
    return 3;
  return name[0] == '\0' ? 0 : write_file(in_folder(name), logits, sizeof logits) ? 0 : 4;
}

int main(int argc, char **argv)
{
  if (argc > 1)
    test_folder = argv[1];
  if (argc > 2)
    return predict(argv[2]);
  static float results[COUNT][LOGITS];
  int present[COUNT] = {0};
  for (int i = 0; i < COUNT; i++) {
    int code = started_with(NAMES[i]);
    EXPECT(code == 0 || code == 77);
    if (code == 77) {
      printf("  %s: not tested here\n", NAMES[i]);
      continue;
    }
    size_t count = 0;
    unsigned char *bytes = read_file(in_folder(NAMES[i]), &count);
    present[i] = bytes != NULL && count == sizeof results[i];
    EXPECT(present[i]);
    if (present[i])
      memcpy(results[i], bytes, count);
    free(bytes);
  }
  EXPECT(present[0] && present[3]);
  for (int i = 1; i < COUNT; i++) {
    float worst = 0;
    for (int j = 0; j < LOGITS && present[i]; j++)
      worst = fmaxf(worst, fabsf(results[i][j] - results[0][j]));
    if (present[i])
      printf("  %s differs from %s by at most %.1e\n", NAMES[i], NAMES[0], (double)worst);
    EXPECT(worst < 2e-3f);
  }
  if (present[1] && present[2])
    EXPECT(memcmp(results[1], results[2], sizeof results[1]) == 0);
  EXPECT(started_with("") == 0);
  static const char *const unknown[] = {"v5", "V4", "best"};
  for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++)
    EXPECT(started_with(unknown[i]) == 77);
  return finish("kernels");
}
