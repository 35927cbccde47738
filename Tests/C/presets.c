/* The presets: every one makes a network, overrides are merged, and what cannot be is refused by name. */
#include "support.h"

static const char *const NAMES[] = {"paper_mnist",         "paper_fashion_mnist",  "paper_cifar10",
                                    "paper_language_tiny", "paper_language_small", "paper_language_medium"};
enum { PRESETS = sizeof NAMES / sizeof NAMES[0] };

static char text[8192];
static size_t length;

static dynamoe_status preset(const char *name, const char *overrides)
{
  return dynamoe_preset_json(name, overrides, overrides ? strlen(overrides) : 0, text, sizeof text, &length);
}

static void networks(void)
{
  for (int i = 0; i < PRESETS; i++) {
    OK(preset(NAMES[i], NULL));
    EXPECT(strlen(text) == length);
    EXPECT(strstr(text, "\"kind\": \"percentile\"") && strstr(text, "\"temperature\": 0.5") && strstr(text, "\"noise\": 0.1"));
    dynamoe_model *model = model_of(text, 0);
    dynamoe_info info = {.struct_size = sizeof info};
    OK(dynamoe_model_info(model, &info));
    int language = i >= 3;
    EXPECT(info.task == (language ? DYNAMOE_TASK_LANGUAGE_MODEL : DYNAMOE_TASK_CLASSIFICATION));
    EXPECT(info.vocabulary == (language ? 50257 : 0) && info.inputs == (language ? 0 : i == 2 ? 3072 : 784));
    static char list[8192];
    size_t list_length;
    OK(dynamoe_presets_json(list, sizeof list, &list_length));
    EXPECT(strlen(list) == list_length);
    char count[64];
    snprintf(count, sizeof count, "\"parameter_count\": %lld", (long long)info.parameter_count);
    char *entry = strstr(list, NAMES[i]);
    EXPECT(entry != NULL && strstr(entry, count) != NULL);
    EXPECT(entry != NULL && strstr(entry, language ? "\"batch_size\": 32, \"sequence_length\": 128"
                                                   : "\"batch_size\": 256, \"sequence_length\": null") != NULL);
    OK(dynamoe_model_free(model));
  }
}

static void overrides(void)
{
  OK(preset("paper_mnist", "{\"router\": {\"noise\": 0}, \"width\": 24}"));
  EXPECT(strstr(text, "\"noise\": 0.0") && strstr(text, "\"temperature\": 0.5") && strstr(text, "\"width\": 24"));
  OK(preset("paper_language_tiny", "{\"vocabulary\": 99, \"router\": {\"kind\": \"top_k\", \"k\": 1}}"));
  EXPECT(strstr(text, "\"outputs\": 99") && strstr(text, "\"gate\": \"normalized\"") && strstr(text, "\"noise\": 0.0"));
  dynamoe_model *model = model_of(text, 0);
  int32_t ids[] = {0, 98, 7}, next[] = {98, 7, -1};
  dynamoe_targets targets = classes_of(next, 3);
  dynamoe_losses losses = {.struct_size = sizeof losses};
  OK(dynamoe_model_train_batch_tokens(model, ids, 3, &targets, NULL, 0, &losses));
  EXPECT(losses.task > 3 && losses.task < 6); /* near log 99 */
  OK(dynamoe_model_free(model));
}

static void refusals(void)
{
#define BAD(word, call) REFUSED(DYNAMOE_ERROR_ARGUMENT, word, call)
  BAD("name", preset(NULL, NULL));
  BAD("paper_cifar10", preset("cifar10", NULL));
  BAD("did you mean paper_mnist?", preset("paper_minst", NULL));
  BAD("name", preset("a name that is far longer than any that a preset could ever have, sixty-four bytes", NULL));
  BAD("name", preset("\xff", NULL));
  BAD("did you mean noise?", preset("paper_mnist", "{\"router\": {\"nose\": 0}}"));
  BAD("width", preset("paper_mnist", "{\"width\": -3}"));
  BAD("object", preset("paper_mnist", "[]"));
  BAD("JSON", preset("paper_mnist", ""));
  BAD("JSON", preset("paper_mnist", "{\"width\": "));
  BAD("overrides", dynamoe_preset_json("paper_mnist", NULL, 5, text, sizeof text, &length));
  BAD("overrides_length", dynamoe_preset_json("paper_mnist", "{}", SIZE_MAX, text, sizeof text, &length));
  BAD("UTF-8", preset("paper_mnist", "{\"\xff\": 1}"));
  BAD("length", dynamoe_preset_json("paper_mnist", NULL, 0, text, sizeof text, NULL));
  BAD("text", dynamoe_preset_json("paper_mnist", NULL, 0, NULL, 10, &length));
  BAD("length", dynamoe_presets_json(text, sizeof text, NULL));
  BAD("text", dynamoe_presets_json(NULL, 10, &length));
}

/* The length can be asked for first; a text that does not fit is not written. */
static void capacities(void)
{
  OK(dynamoe_preset_json("paper_mnist", NULL, 0, NULL, 0, &length));
  size_t wanted = length;
  memset(text, 'x', sizeof text);
  BAD("capacity", dynamoe_preset_json("paper_mnist", NULL, 0, text, wanted, &length));
  EXPECT(text[0] == 'x' && length == wanted);
  OK(dynamoe_preset_json("paper_mnist", NULL, 0, text, wanted + 1, &length));
  EXPECT(text[wanted] == '\0' && text[wanted + 1] == 'x' && strlen(text) == wanted);
  OK(dynamoe_presets_json(NULL, 0, &length));
  wanted = length;
  memset(text, 'x', sizeof text);
  BAD("capacity", dynamoe_presets_json(text, wanted, &length));
  EXPECT(text[0] == 'x');
  OK(dynamoe_presets_json(text, wanted + 1, &length));
  EXPECT(text[wanted] == '\0' && text[wanted + 1] == 'x' && text[0] == '[');
}

int main(void)
{
  networks();
  overrides();
  refusals();
  capacities();
  return finish("presets");
}
