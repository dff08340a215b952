/* Make a clean table of flowers of what several people typed.
 *
 *   reads   /data/raw             flower,species,four measurements,unit
 *   writes  /results/train.csv    four of five flowers, in the layout of Iris.csv
 *           /results/test.csv     every fifth
 *           /results/report.json  how many rows were left out, and why
 *
 * A row with an empty or odd field is incomplete, one with an impossible size implausible, and
 * of several rows about one flower the first that is neither counts. Millimetres become
 * centimetres, and names of species their usual form.
 */
#include <ctype.h>

#include "../iris/iris.h"

enum { COLUMNS = 7, FLOWER = 0, SPECIES = 1, FIRST = 2, UNIT = 6, IDS = 4096, FIFTH = 5 };

#define RAW_HEADER "flower,species,sepal_length,sepal_width,petal_length,petal_width,unit"
#define CLEAN_HEADER "Id,SepalLengthCm,SepalWidthCm,PetalLengthCm,PetalWidthCm,Species\n"
#define LARGEST_CM 30.0

enum verdict { KEPT, INCOMPLETE, IMPLAUSIBLE, DUPLICATE, VERDICTS };

struct row {
    int id, species;
    double cm[FEATURES];
};

/* Cut a line at its commas; the number of fields, at most COLUMNS + 1. */
static int split(char *line, char *fields[COLUMNS]) {
    int count = 0;
    for (char *at = line; at != NULL; count++) {
        if (count == COLUMNS) return COLUMNS + 1;
        fields[count] = at;
        at = strchr(at, ',');
        if (at != NULL) *at++ = '\0';
    }
    return count;
}

/* A decimal number and nothing else; 0 if it is none. */
static int number(const char *text, double *out) {
    char *end;
    if (*text < '0' || *text > '9') return 0;
    *out = strtod(text, &end);
    return *end == '\0' && isfinite(*out);
}

/* The species that a name means in whatever case, with or without the genus; -1 if none. */
static int species_of(const char *text) {
    char name[32] = "iris-";
    size_t size = strlen(text), start = 0;
    while (size > 0 && text[size - 1] == ' ') size--;
    while (start < size && text[start] == ' ') start++;
    if (size - start >= sizeof name - 5) return -1;
    for (size_t i = start; i < size; i++) name[5 + i - start] = (char)tolower(text[i]);
    name[5 + size - start] = '\0';
    const char *bare = strncmp(name + 5, "iris-", 5) == 0 ? name + 5 : name;
    for (int c = 0; c < CLASSES; c++)
        if (strcmp(bare + 1, CLASS_NAMES[c] + 1) == 0) return c;
    return -1;
}

static enum verdict judge(char *line, struct row *row, const char *taken) {
    char *fields[COLUMNS];
    double id;
    if (split(line, fields) != COLUMNS || !number(fields[FLOWER], &id)) return INCOMPLETE;
    if (id < 1 || id >= IDS || id != floor(id)) return INCOMPLETE;
    row->id = (int)id;
    row->species = species_of(fields[SPECIES]);
    int millimetres = strcmp(fields[UNIT], "mm") == 0;
    if (row->species < 0 || (!millimetres && strcmp(fields[UNIT], "cm") != 0)) return INCOMPLETE;
    for (int f = 0; f < FEATURES; f++) {
        if (!number(fields[FIRST + f], &row->cm[f])) return INCOMPLETE;
        if (millimetres) row->cm[f] /= 10;
    }
    for (int f = 0; f < FEATURES; f++)
        if (row->cm[f] <= 0 || row->cm[f] > LARGEST_CM) return IMPLAUSIBLE;
    return taken[row->id] ? DUPLICATE : KEPT;
}

static void write_row(FILE *file, const struct row *row) {
    fprintf(file, "%d", row->id);
    for (int f = 0; f < FEATURES; f++) fprintf(file, ",%.1f", row->cm[f]);
    fprintf(file, ",%s\n", CLASS_NAMES[row->species]);
}

int main(void) {
    static char taken[IDS];
    int counts[VERDICTS] = {0}, rows = 0, held_back = 0;
    struct row row;
    FILE *train = create_file("/results/train.csv"), *test = create_file("/results/test.csv");
    fputs(CLEAN_HEADER, train);
    fputs(CLEAN_HEADER, test);

    char *line = strtok(read_file("/data/raw"), "\n");
    if (line == NULL || strcmp(line, RAW_HEADER) != 0) fail("raw, line 1: expected " RAW_HEADER);
    while ((line = strtok(NULL, "\n")) != NULL) {
        enum verdict verdict = judge(line, &row, taken);
        counts[verdict]++;
        rows++;
        if (verdict != KEPT) continue;
        taken[row.id] = 1;
        int test_row = row.id % FIFTH == 0;
        held_back += test_row;
        write_row(test_row ? test : train, &row);
    }
    close_file(train, "/results/train.csv");
    close_file(test, "/results/test.csv");

    FILE *file = create_file("/results/report.json");
    fprintf(file,
            "{\"rows\": %d, \"incomplete\": %d, \"implausible\": %d, \"duplicate\": %d, "
            "\"train\": %d, \"test\": %d}\n",
            rows, counts[INCOMPLETE], counts[IMPLAUSIBLE], counts[DUPLICATE],
            counts[KEPT] - held_back, held_back);
    close_file(file, "/results/report.json");
    return 0;
}
