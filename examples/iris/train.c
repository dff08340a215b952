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

#include "flowers.h"

enum { HELD_BACK = 5, ROUNDS = 600, REPORT_EVERY = 100 };

#define RATE 0.5
#define DECAY 1e-3
#define SEED UINT64_C(0x1915f15e5)

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
