/* Count the flowers of one species and tell their mean sizes.
 *
 *   argument  a species: Iris-setosa, Iris-versicolor or Iris-virginica
 *   reads     /data/iris              flowers in the layout of Iris.csv
 *   writes    /results/summary.json   how many there are, and the four means in cm
 */
#include "../iris/flowers.h"

static int species_of(const char *name) {
    for (int c = 0; c < CLASSES; c++)
        if (strcmp(name, CLASS_NAMES[c]) == 0) return c;
    fail("expected one argument, the name of a species");
}

int main(int argc, char **argv) {
    static struct flower flowers[FLOWERS_MAX];
    double sums[FEATURES] = {0};
    int found = 0, species = species_of(argc == 2 ? argv[1] : "");
    int count = parse_flowers(read_file("/data/iris"), flowers);
    for (int i = 0; i < count; i++) {
        if (flowers[i].species != species) continue;
        for (int f = 0; f < FEATURES; f++) sums[f] += flowers[i].features[f];
        found++;
    }
    if (found == 0) fail("iris: no flower is of that species");
    FILE *file = create_file("/results/summary.json");
    fprintf(file, "{\"species\": \"%s\", \"count\": %d, \"mean\": [%.3f, %.3f, %.3f, %.3f]}\n",
            CLASS_NAMES[species], found, sums[0] / found, sums[1] / found, sums[2] / found,
            sums[3] / found);
    close_file(file, "/results/summary.json");
    return 0;
}
