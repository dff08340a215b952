/* Measure a model on flowers that it has not seen.
 *
 *   reads   /data/model             a model of irises
 *           /data/test              flowers in the layout of Iris.csv
 *           /data/report            what clean.c says of the rows it left out
 *   writes  /results/metrics.json   accuracy, and per species how many were taken for which
 *           /results/report.json    that report, passed on
 */
#include "../iris/flowers.h"
#include "../iris/model.h"

int main(void) {
    static struct flower flowers[FLOWERS_MAX];
    struct model model;
    int confusion[CLASSES][CLASSES] = {{0}}, right = 0;
    parse_model(read_file("/data/model"), &model);
    int count = parse_flowers(read_file("/data/test"), flowers);
    for (int i = 0; i < count; i++) {
        double probabilities[CLASSES];
        predict(&model, flowers[i].features, probabilities);
        int answer = most_likely(probabilities);
        confusion[flowers[i].species][answer]++;
        right += answer == flowers[i].species;
    }
    FILE *file = create_file("/results/metrics.json");
    fprintf(file, "{\"flowers\": %d, \"right\": %d, \"accuracy\": %.4f, \"confusion\": {", count,
            right, (double)right / count);
    for (int c = 0; c < CLASSES; c++)
        fprintf(file, "%s\"%s\": [%d, %d, %d]", c ? ", " : "", CLASS_NAMES[c], confusion[c][0],
                confusion[c][1], confusion[c][2]);
    fputs("}}\n", file);
    close_file(file, "/results/metrics.json");

    file = create_file("/results/report.json");
    fputs(read_file("/data/report"), file);
    close_file(file, "/results/report.json");
    return 0;
}
