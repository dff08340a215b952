/* Reads a model as train.c writes it. */
#ifndef MODEL_H
#define MODEL_H

#include "iris.h"
#include "json.h"

static void parse_model(const char *text, struct model *model) {
    enum { FORMAT, MEAN, SCALE, FIRST_CLASS, KEYS = FIRST_CLASS + CLASSES };
    static const char *const keys[KEYS] = {"format",      "mean",            "scale",
                                           "Iris-setosa", "Iris-versicolor", "Iris-virginica"};
    struct json json = {.what = "model", .start = text, .at = text};
    unsigned seen = 0;
    char name[NAME_LIMIT];
    json_expect(&json, '{');
    for (int i = 0; i < KEYS; i++) {
        if (i > 0) json_expect(&json, ',');
        json_string(&json, name);
        json_expect(&json, ':');
        int key = json_key(&json, name, keys, KEYS, &seen);
        if (key == FORMAT) {
            json_string(&json, name);
            if (strcmp(name, MODEL_FORMAT) != 0)
                fail("model: format \"%s\", expected \"%s\"", name, MODEL_FORMAT);
        } else if (key == MEAN || key == SCALE) {
            json_numbers(&json, key == MEAN ? model->mean : model->scale, FEATURES);
        } else {
            json_numbers(&json, model->weights[key - FIRST_CLASS], FEATURES + 1);
        }
    }
    json_expect(&json, '}');
    json_end(&json);
    for (int f = 0; f < FEATURES; f++)
        if (model->scale[f] <= 0) fail("model: a scale that is not above 0");
}

#endif
