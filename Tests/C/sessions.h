/* sessions.h - a small network, its sessions, and rows for them */
#ifndef DYNAMOE_TESTS_SESSIONS_H
#define DYNAMOE_TESTS_SESSIONS_H

#include "support.h"

enum { ROWS = 96, INPUTS = 12, OUTPUTS = 5 };

static const char *JSON = "{\"task\": \"classification\", \"inputs\": 12, \"outputs\": 5, \"width\": 32, \"experts\": [6, 4], "
                          "\"router\": {\"kind\": \"threshold\", \"target_active\": 2, \"noise\": 0.1}}";

static float x[ROWS * INPUTS], logits[ROWS * OUTPUTS], expected[ROWS * OUTPUTS];
static int32_t classes[ROWS];

static UNUSED dynamoe_session *session_of(dynamoe_model *model)
{
  dynamoe_session *session = NULL;
  REQUIRE_OK(dynamoe_session_create(model, &session));
  return session;
}

static UNUSED dynamoe_model *trained(void)
{
  dynamoe_model *model = model_of(JSON, 3);
  dynamoe_targets targets = classes_of(classes, ROWS);
  for (int step = 0; step < 5; step++)
    REQUIRE_OK(dynamoe_model_train_batch(model, x, ROWS * INPUTS, ROWS, &targets, NULL, 0, NULL));
  return model;
}

static UNUSED dynamoe_status forward(dynamoe_session *session)
{
  return dynamoe_session_forward(session, x, ROWS * INPUTS, ROWS, logits, ROWS * OUTPUTS);
}

static UNUSED int64_t rows_of(dynamoe_session *session)
{
  dynamoe_routing_statistics statistics = {.struct_size = sizeof statistics};
  OK(dynamoe_session_routing_statistics(session, 0, &statistics, NULL, 0, NULL, 0, NULL, 0, NULL, 0));
  EXPECT(isnan(statistics.participation));
  return statistics.rows;
}

static UNUSED void make_rows(void)
{
  fill(x, ROWS * INPUTS);
  label(x, ROWS, INPUTS, OUTPUTS, classes);
}

#endif
