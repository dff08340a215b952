/* Name the species of one flower.
 *
 *   argument  {"sepal_length": 7.0, "sepal_width": 3.2, "petal_length": 4.7, "petal_width": 1.4}
 *   reads     /data/model             what train.c wrote
 *   writes    /results/results.txt    the name, also printed
 *
 * An argument or a model that is not exactly as expected: a message, exit code 1.
 */
#include "model.h"

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
