/* What the programs about irises share: the model, reading and writing files, failing.
 *
 * Everything that is read is somebody else's: each read has a bound, and anything that is
 * not exactly as expected ends the program with a message on stderr and exit code 1.
 */
#ifndef IRIS_H
#define IRIS_H

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FEATURES = 4, CLASSES = 3, FILE_LIMIT = 1 << 20 };

#define MODEL_FORMAT "iris-softmax/1"

static const char *const CLASS_NAMES[CLASSES] = {
    "Iris-setosa", "Iris-versicolor", "Iris-virginica"};

/* Softmax regression on standardised features; weights[c][FEATURES] is the bias. */
struct model {
    double mean[FEATURES];
    double scale[FEATURES];
    double weights[CLASSES][FEATURES + 1];
};

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("error: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

/* The whole file with a NUL behind it; the caller owns it. */
static char *read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) fail("cannot open %s", path);
    char *text = malloc(FILE_LIMIT + 1);
    if (text == NULL) fail("out of memory");
    size_t size = fread(text, 1, FILE_LIMIT, file);
    if (ferror(file) || fgetc(file) != EOF) fail("%s is unreadable or over 1 MiB", path);
    fclose(file);
    if (memchr(text, '\0', size) != NULL) fail("%s contains a NUL byte", path);
    text[size] = '\0';
    return text;
}

static FILE *create_file(const char *path) {
    FILE *file = fopen(path, "wb");
    if (file == NULL) fail("cannot create %s", path);
    return file;
}

static void close_file(FILE *file, const char *path) {
    int broken = ferror(file);
    if (fclose(file) != 0 || broken) fail("cannot write %s", path);
}

/* Class probabilities of one flower. */
static void predict(const struct model *model, const double features[FEATURES],
                    double out[CLASSES]) {
    double largest = -HUGE_VAL, sum = 0;
    for (int c = 0; c < CLASSES; c++) {
        out[c] = model->weights[c][FEATURES];
        for (int f = 0; f < FEATURES; f++)
            out[c] += model->weights[c][f] * (features[f] - model->mean[f]) / model->scale[f];
        if (out[c] > largest) largest = out[c];
    }
    /* Subtracting the largest keeps exp() from overflowing and changes no ratio. */
    for (int c = 0; c < CLASSES; c++) sum += out[c] = exp(out[c] - largest);
    for (int c = 0; c < CLASSES; c++) out[c] /= sum;
}

static int most_likely(const double probabilities[CLASSES]) {
    int best = 0;
    for (int c = 1; c < CLASSES; c++)
        if (probabilities[c] > probabilities[best]) best = c;
    return best;
}

#endif
