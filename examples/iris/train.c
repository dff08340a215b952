/* Learn to tell three species of iris apart.
 *
 *   reads   /data/iris             150 flowers as CSV
 *   writes  /results/model.json    the model, for infer.c
 *           /results/metrics.json  how good it is on flowers it saw and on flowers it did not
 *
 * Softmax regression by gradient descent on 120 flowers, with 30 kept back. Nothing is drawn
 * at random: the same input gives the same bytes. Malformed input: a message, exit code 1.
 */
#include <stdint.h>

#include "iris.h"

enum { FLOWERS_MAX = 4096, FLOWERS_MIN = 10, HELD_BACK = 5, ROUNDS = 600, REPORT_EVERY = 100 };

#define RATE 0.5
#define DECAY 1e-3
#define SEED UINT64_C(0x1915f15e5)
#define HEADER "Id,SepalLengthCm,SepalWidthCm,PetalLengthCm,PetalWidthCm,Species"

struct flower {
    double features[FEATURES];
    int species;
};

/* The next line, without its end (LF or CRLF); NULL after the last. */
static char *next_line(char **rest) {
    char *line = *rest;
    if (*line == '\0') return NULL;
    char *end = strchr(line, '\n');
    *rest = end ? end + 1 : line + strlen(line);
    if (end == NULL) end = *rest;
    if (end > line && end[-1] == '\r') end--;
    *end = '\0';
    return line;
}

static double parse_measure(char **at, int line) {
    char *end;
    if (**at < '0' || **at > '9') fail("iris, line %d: expected a measurement in cm", line);
    double value = strtod(*at, &end);
    if (*end != ',' || !isfinite(value) || value <= 0 || value > 100)
        fail("iris, line %d: expected a measurement in cm", line);
    *at = end + 1;
    return value;
}

static struct flower parse_flower(char *text, int line) {
    struct flower flower;
    char *at = text;
    while (*at >= '0' && *at <= '9') at++;
    if (at == text || *at++ != ',') fail("iris, line %d: expected a number and a comma", line);
    for (int f = 0; f < FEATURES; f++) flower.features[f] = parse_measure(&at, line);
    for (flower.species = 0; flower.species < CLASSES; flower.species++)
        if (strcmp(at, CLASS_NAMES[flower.species]) == 0) return flower;
    fail("iris, line %d: unknown species", line);
}

static int parse_flowers(char *text, struct flower *flowers) {
    char *line = next_line(&text);
    if (line == NULL || strcmp(line, HEADER) != 0) fail("iris, line 1: expected " HEADER);
    int count = 0;
    while ((line = next_line(&text)) != NULL) {
        if (count == FLOWERS_MAX) fail("iris: more than %d flowers", FLOWERS_MAX);
        flowers[count] = parse_flower(line, count + 2);
        count++;
    }
    if (count < FLOWERS_MIN) fail("iris: %d flowers, expected at least %d", count, FLOWERS_MIN);
    return count;
}

/* xorshift64 (Marsaglia 2003): enough to mix an order, and the same everywhere. */
static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void shuffle(struct flower *flowers, int count) {
    uint64_t state = SEED;
    for (int i = count - 1; i > 0; i--) {
        int j = (int)(next_random(&state) % (uint64_t)(i + 1));
        struct flower swapped = flowers[i];
        flowers[i] = flowers[j];
        flowers[j] = swapped;
    }
}

static void standardise(struct model *model, const struct flower *flowers, int count) {
    for (int f = 0; f < FEATURES; f++) {
        double sum = 0, squares = 0;
        for (int i = 0; i < count; i++) sum += flowers[i].features[f];
        model->mean[f] = sum / count;
        for (int i = 0; i < count; i++) {
            double distance = flowers[i].features[f] - model->mean[f];
            squares += distance * distance;
        }
        model->scale[f] = squares > 0 ? sqrt(squares / count) : 1;
    }
}

/* One step of gradient descent; returns the mean cross-entropy before it. */
static double step(struct model *model, const struct flower *flowers, int count) {
    double gradient[CLASSES][FEATURES + 1] = {{0}}, loss = 0;
    for (int i = 0; i < count; i++) {
        double probabilities[CLASSES];
        predict(model, flowers[i].features, probabilities);
        loss -= log(probabilities[flowers[i].species]);
        for (int c = 0; c < CLASSES; c++) {
            double error = probabilities[c] - (c == flowers[i].species);
            for (int f = 0; f < FEATURES; f++)
                gradient[c][f] +=
                    error * (flowers[i].features[f] - model->mean[f]) / model->scale[f];
            gradient[c][FEATURES] += error;
        }
    }
    for (int c = 0; c < CLASSES; c++)
        for (int f = 0; f <= FEATURES; f++)
            model->weights[c][f] -=
                RATE * (gradient[c][f] / count + (f < FEATURES ? DECAY * model->weights[c][f] : 0));
    return loss / count;
}

static double accuracy(const struct model *model, const struct flower *flowers, int count) {
    int right = 0;
    for (int i = 0; i < count; i++) {
        double probabilities[CLASSES];
        predict(model, flowers[i].features, probabilities);
        right += most_likely(probabilities) == flowers[i].species;
    }
    return (double)right / count;
}

/* %.17g is enough digits for every double to come back as it was. */
static void write_numbers(FILE *file, const double *numbers, int count) {
    for (int i = 0; i < count; i++) fprintf(file, "%s%.17g", i ? ", " : "[", numbers[i]);
    fputc(']', file);
}

static void write_model(const struct model *model, const char *path) {
    FILE *file = create_file(path);
    fprintf(file, "{\n  \"format\": \"%s\",\n  \"mean\": ", MODEL_FORMAT);
    write_numbers(file, model->mean, FEATURES);
    fprintf(file, ",\n  \"scale\": ");
    write_numbers(file, model->scale, FEATURES);
    for (int c = 0; c < CLASSES; c++) {
        fprintf(file, ",\n  \"%s\": ", CLASS_NAMES[c]);
        write_numbers(file, model->weights[c], FEATURES + 1);
    }
    fprintf(file, "\n}\n");
    close_file(file, path);
}

int main(void) {
    static struct flower flowers[FLOWERS_MAX];
    struct model model = {.scale = {1, 1, 1, 1}};
    int count = parse_flowers(read_file("/data/iris"), flowers);
    shuffle(flowers, count);
    int held_back = count / HELD_BACK, seen = count - held_back;
    printf("%d flowers: %d to learn from, %d held back\n", count, seen, held_back);

    standardise(&model, flowers, seen);
    for (int round = 1; round <= ROUNDS; round++) {
        double loss = step(&model, flowers, seen);
        if (round == 1 || round % REPORT_EVERY == 0) printf("round %3d: loss %.4f\n", round, loss);
    }
    double on_seen = accuracy(&model, flowers, seen);
    double on_held_back = accuracy(&model, flowers + seen, held_back);
    printf("accuracy: %.4f on flowers seen, %.4f on flowers held back\n", on_seen, on_held_back);

    write_model(&model, "/results/model.json");
    FILE *file = create_file("/results/metrics.json");
    fprintf(file,
            "{\n  \"train_accuracy\": %.6f,\n  \"validation_accuracy\": %.6f,\n"
            "  \"train_size\": %d,\n  \"validation_size\": %d\n}\n",
            on_seen, on_held_back, seen, held_back);
    close_file(file, "/results/metrics.json");
    return 0;
}
