/* Name the species of one flower.
 *
 *   argument  {"sepal_length": 7.0, "sepal_width": 3.2, "petal_length": 4.7, "petal_width": 1.4}
 *   reads     /data/model             what train.c wrote
 *   writes    /results/results.txt    the name, also printed
 *
 * An argument or a model that is not exactly as expected: a message, exit code 1.
 */
#include "iris.h"
#include "json.h"

static const char *const FEATURE_NAMES[FEATURES] = {
    "sepal_length", "sepal_width", "petal_length", "petal_width"};

static void parse_flower(const char *text, double out[FEATURES]) {
    struct json json = {.what = "argument", .start = text, .at = text};
    unsigned seen = 0;
    char name[NAME_LIMIT];
    json_expect(&json, '{');
    for (int i = 0; i < FEATURES; i++) {
        if (i > 0) json_expect(&json, ',');
        json_string(&json, name);
        json_expect(&json, ':');
        int feature = json_key(&json, name, FEATURE_NAMES, FEATURES, &seen);
        out[feature] = json_number(&json);
        if (out[feature] <= 0 || out[feature] > 100)
            fail("argument: %s is %g, expected centimetres above 0 and up to 100", name,
                 out[feature]);
    }
    json_expect(&json, '}');
    json_end(&json);
}

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

int main(int argc, char **argv) {
    double features[FEATURES], probabilities[CLASSES];
    struct model model;
    if (argc != 2) fail("expected one argument, a JSON object with four measurements");
    parse_flower(argv[1], features);
    parse_model(read_file("/data/model"), &model);
    predict(&model, features, probabilities);
    const char *name = CLASS_NAMES[most_likely(probabilities)];
    printf("%s\n", name);
    FILE *file = create_file("/results/results.txt");
    fprintf(file, "%s\n", name);
    close_file(file, "/results/results.txt");
    return 0;
}
