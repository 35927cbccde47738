/* Files that are missing, cut, changed or not ours, and saves that cannot be. */
#define _POSIX_C_SOURCE 200809L
#include "support.h"

#include <sys/stat.h>
#include <unistd.h>

static const char *MODEL_JSON = "{\"task\": \"classification\", \"inputs\": 3, \"outputs\": 4, \"width\": 8, \"experts\": [4, 2], "
                                "\"router\": {\"kind\": \"threshold\", \"target_active\": 2}}";
static const char *LAYER_JSON = "{\"width\": 3, \"experts\": 4, \"router\": {\"kind\": \"top_k\", \"k\": 2}}";

static float x[9];
static int32_t classes[3] = {0, 1, 2};

static dynamoe_status load(const char *path)
{
  dynamoe_model *model = (dynamoe_model *)(uintptr_t)64;
  dynamoe_status status = dynamoe_model_load(path, &model);
  EXPECT((status == DYNAMOE_OK) == (model != NULL));
  if (status == DYNAMOE_OK)
    OK(dynamoe_model_free(model));
  return status;
}

/* The bytes as a file are refused as a damaged or foreign one. */
static void refuse_bytes(const void *bytes, size_t count, int line, const char *what)
{
  EXPECT(write_file(in_folder("damaged.safetensors"), bytes, count));
  dynamoe_status status = load(in_folder("damaged.safetensors"));
  int ok = status == DYNAMOE_ERROR_FORMAT && strstr(dynamoe_last_error(), "damaged.safetensors") != NULL;
  record(ok, __FILE__, line, what);
  if (!ok)
    printf("  %zu bytes: %s: %s\n", count, dynamoe_status_name(status), dynamoe_last_error());
}

#define REFUSE_BYTES(bytes, count) refuse_bytes(bytes, count, __LINE__, #bytes)

static void damaged(const char *path)
{
  size_t count;
  unsigned char *bytes = read_file(path, &count);
  EXPECT(bytes != NULL && count > 256);
  /* Cut at every place in the header's beginning, and at some further on. */
  for (size_t length = 0; length < 64; length++)
    REFUSE_BYTES(bytes, length);
  for (size_t part = 1; part < 40; part++)
    REFUSE_BYTES(bytes, count * part / 40);
  REFUSE_BYTES(bytes, count - 1);
  unsigned char *longer = calloc(count + 16, 1);
  memcpy(longer, bytes, count);
  REFUSE_BYTES(longer, count + 4);
  /* Any one byte of the header turned: refused or, where it is only another number, loaded; never the end of the process. */
  uint64_t header = 0;
  memcpy(&header, bytes, 8);
  long refused = 0, tried = 0;
  for (size_t i = 0; i < 8 + header; i += 1 + i / 40) {
    memcpy(longer, bytes, count);
    longer[i] ^= 1 << (i % 7);
    write_file(in_folder("damaged.safetensors"), longer, count);
    dynamoe_status status = load(in_folder("damaged.safetensors"));
    EXPECT(status == DYNAMOE_OK || status == DYNAMOE_ERROR_FORMAT || status == DYNAMOE_ERROR_MEMORY ||
           status == DYNAMOE_ERROR_ARGUMENT);
    refused += status != DYNAMOE_OK;
    tried++;
  }
  printf("  %ld of %ld changed headers refused\n", refused, tried);
  EXPECT(refused > tried / 2);
  /* A weight that is not a number. */
  memcpy(longer, bytes, count);
  memset(longer + count - 4, 0xFF, 4);
  REFUSE_BYTES(longer, count);
  /* Lengths that no file has. */
  for (int shift = 16; shift < 64; shift += 8) {
    memcpy(longer, bytes, count);
    uint64_t length = (uint64_t)0x7F << (shift > 56 ? 56 : shift);
    memcpy(longer, &length, 8);
    REFUSE_BYTES(longer, count);
  }
  memset(longer, 0xFF, 8);
  REFUSE_BYTES(longer, count);
  free(longer);
  free(bytes);
}

static void foreign(void)
{
  REFUSE_BYTES("", 0);
  REFUSE_BYTES("PK\003\004 not a model at all, but long enough to be one", 50);
  static const char empty_header[] = "\002\000\000\000\000\000\000\000{}";
  REFUSE_BYTES(empty_header, 10);
  static const char one_tensor[] = "\100\000\000\000\000\000\000\000"
                                   "{\"a\": {\"dtype\": \"F32\", \"shape\": [1], \"data_offsets\": [0, 4]}}  "
                                   "\000\000\000";
  REFUSE_BYTES(one_tensor, 76);
  /* A layer's file is no model's, and the other way round. */
  dynamoe_layer *layer = layer_of(LAYER_JSON, 0), *none = (dynamoe_layer *)(uintptr_t)64;
  OK(dynamoe_layer_save(layer, in_folder("layer.safetensors")));
  EXPECT(load(in_folder("layer.safetensors")) == DYNAMOE_ERROR_FORMAT);
  OK(dynamoe_layer_free(layer));
  REFUSED(DYNAMOE_ERROR_FORMAT, "model.safetensors", dynamoe_layer_load(in_folder("model.safetensors"), &none));
  EXPECT(none == NULL);
}

static void missing(dynamoe_model *model)
{
  dynamoe_model *none = NULL;
  REFUSED(DYNAMOE_ERROR_FILE, "absent", dynamoe_model_load(in_folder("absent.safetensors"), &none));
  REFUSED(DYNAMOE_ERROR_FILE, "absent", dynamoe_model_load(in_folder("absent/model.safetensors"), &none));
  EXPECT(load(test_folder) == DYNAMOE_ERROR_FILE || load(test_folder) == DYNAMOE_ERROR_FORMAT);
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "path", dynamoe_model_load(NULL, &none));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "path", dynamoe_model_load("", &none));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "UTF-8", dynamoe_model_load("\xff\xff", &none));
  REFUSED(DYNAMOE_ERROR_ARGUMENT, "out", dynamoe_model_load(in_folder("model.safetensors"), NULL));
  uint64_t before = model_fingerprint(model);
  REFUSED(DYNAMOE_ERROR_FILE, "absent", dynamoe_model_save(model, in_folder("absent/model.safetensors")));
  REFUSED(DYNAMOE_ERROR_FILE, "", dynamoe_model_save(model, test_folder));
  EXPECT(model_fingerprint(model) == before);
}

/* A save that fails leaves the old file as it was, and nothing beside it. */
static void kept(dynamoe_model *model)
{
  if (geteuid() == 0) {
    printf("  the superuser may write anywhere: read-only folders are not tested\n");
    return;
  }
  char folder[4096], path[4200];
  snprintf(folder, sizeof folder, "%s/readonly", test_folder);
  snprintf(path, sizeof path, "%s/model.safetensors", folder);
  mkdir(folder, 0700);
  OK(dynamoe_model_save(model, path));
  uint64_t before = hash_file(0, path);
  chmod(folder, 0500);
  REFUSED(DYNAMOE_ERROR_FILE, "model.safetensors", dynamoe_model_save(model, path));
  chmod(folder, 0700);
  EXPECT(hash_file(0, path) == before);
}

/* The same call writes the same bytes; what cannot be written changes nothing, statistics included. */
static void report(dynamoe_model *model)
{
  dynamoe_targets targets = classes_of(classes, 3);
  const char options[] = "{\"title\": \"Three rows\", \"class_names\": [\"a\", \"b\", \"<c>\", \"d\"]}";
  OK(dynamoe_model_report(model, x, 9, 3, &targets, options, sizeof options - 1, in_folder("report.html")));
  size_t count;
  char *page = (char *)read_file(in_folder("report.html"), &count);
  EXPECT(page != NULL && count > 1000 && memcmp(page, "<!DOCTYPE html>", 15) == 0);
  free(page);
  uint64_t bytes = hash_file(0, in_folder("report.html")), before = model_fingerprint(model);
  REFUSED(DYNAMOE_ERROR_FILE, "absent", dynamoe_model_report(model, x, 9, 3, &targets, NULL, 0, in_folder("absent/report.html")));
  REFUSED(DYNAMOE_ERROR_FILE, "", dynamoe_model_report(model, x, 9, 3, &targets, NULL, 0, test_folder));
  EXPECT(model_fingerprint(model) == before);
  OK(dynamoe_model_report(model, x, 9, 3, &targets, options, sizeof options - 1, in_folder("report.html")));
  EXPECT(hash_file(0, in_folder("report.html")) == bytes);
}

int main(int argc, char **argv)
{
  if (argc > 1)
    test_folder = argv[1];
  fill(x, 9);
  dynamoe_model *model = model_of(MODEL_JSON, 0);
  dynamoe_targets targets = classes_of(classes, 3);
  OK(dynamoe_model_train_batch(model, x, 9, 3, &targets, NULL, 0, NULL));
  OK(dynamoe_model_save(model, in_folder("model.safetensors")));
  EXPECT(load(in_folder("model.safetensors")) == DYNAMOE_OK);
  damaged(in_folder("model.safetensors"));
  foreign();
  missing(model);
  kept(model);
  report(model);
  OK(dynamoe_model_free(model));
  return finish("files");
}
