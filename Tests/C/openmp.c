/* The library in a program with threads of OpenMP: beside them and inside of them, with the results of a program without. */
#define _POSIX_C_SOURCE 200809L
#include "neighbours.h"

#include <omp.h>

enum { TEAM = 3 };

/* Work for the program's own threads. */
static double sum_of_squares(void)
{
  double sum = 0;
#pragma omp parallel for reduction(+ : sum) num_threads(TEAM)
  for (int i = 0; i < ROWS * INPUTS; i++)
    sum += (double)x[i] * (double)x[i];
  return sum;
}

/* Calls and parallel regions take turns, so that the team still spins while the library works and the other way round. */
static void beside(dynamoe_model *expected)
{
  dynamoe_model *model = model_of(JSON, 1);
  dynamoe_targets targets = classes_of(classes, ROWS);
  double before = sum_of_squares();
  for (int step = 0; step < STEPS; step++) {
    OK(dynamoe_model_train_batch(model, x, ROWS * INPUTS, ROWS, &targets, NULL, 0, NULL));
    EXPECT(fabs(sum_of_squares() - before) < 1e-6 * before);
  }
  EXPECT(equals(expected, model));
}

/* Every thread of the team trains a network of its own. */
static void inside(dynamoe_model *expected, dynamoe_model *other)
{
  dynamoe_model *models[TEAM] = {NULL};
  int members = 0;
#pragma omp parallel num_threads(TEAM) reduction(+ : members)
  {
    members += 1;
    models[omp_get_thread_num()] = trained(omp_get_thread_num() == 0 ? 1 : 2);
  }
  EXPECT(members == TEAM);
  EXPECT(equals(expected, models[0]));
  for (int i = 1; i < TEAM; i++)
    EXPECT(equals(other, models[i]));
}

/* One thread of the team calls, the others work. */
static void among(dynamoe_model *expected)
{
  dynamoe_model *model = NULL;
  double sums[TEAM] = {0};
#pragma omp parallel num_threads(TEAM)
  {
    int me = omp_get_thread_num();
    if (me == 0)
      model = trained(1);
    else
      for (int round = 0; round < 200; round++)
        for (int i = 0; i < ROWS * INPUTS; i++)
          sums[me] += (double)x[i] * (double)x[i];
  }
  EXPECT(equals(expected, model));
  EXPECT(sums[1] > 0 && sums[1] == sums[2]);
}

int main(int argc, char **argv)
{
  if (argc > 1)
    test_folder = argv[1];
  make_data();
  omp_set_dynamic(0);
  OK(dynamoe_threads_set(1));
  dynamoe_model *first = trained(1), *second = trained(2);
  EXPECT(first != NULL && second != NULL && !same_weights(first, second));
  for (int32_t threads = 1; threads <= 3; threads++) {
    OK(dynamoe_threads_set(threads));
    beside(first);
    inside(first, second);
    among(first);
  }
  OK(dynamoe_model_free(first));
  OK(dynamoe_model_free(second));
  return finish("openmp");
}
