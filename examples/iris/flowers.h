/* Flowers as CSV: what train.c learns from, and what other programs measure a model on. */
#ifndef FLOWERS_H
#define FLOWERS_H

#include "iris.h"

enum { FLOWERS_MAX = 4096, FLOWERS_MIN = 10 };

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

#endif
