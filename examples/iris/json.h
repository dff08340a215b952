/* A strict reader for the little JSON that infer.c takes. It does not build a tree: the caller
 * asks for what it expects, and anything else ends the program through fail().
 */
#ifndef JSON_H
#define JSON_H

#include "iris.h"

enum { NAME_LIMIT = 64 };

/* A JSON text and how far it was read. `what` names it in messages. */
struct json {
    const char *what, *start, *at;
};

__attribute__((noreturn)) static void json_fail(const struct json *json, const char *want) {
    fail("%s, byte %ld: expected %s", json->what, (long)(json->at - json->start), want);
}

static void json_space(struct json *json) {
    while (*json->at != '\0' && strchr(" \t\r\n", *json->at) != NULL) json->at++;
}

static int json_take(struct json *json, char wanted) {
    json_space(json);
    if (*json->at != wanted) return 0;
    json->at++;
    return 1;
}

static void json_expect(struct json *json, char wanted) {
    const char want[] = {'\'', wanted, '\'', '\0'};
    if (!json_take(json, wanted)) json_fail(json, want);
}

/* A string of printable ASCII without escapes: all that is needed here. */
static void json_string(struct json *json, char out[NAME_LIMIT]) {
    json_expect(json, '"');
    int size = 0;
    for (; *json->at != '"'; json->at++) {
        if (*json->at < ' ' || *json->at > '~' || *json->at == '\\' || size == NAME_LIMIT - 1)
            json_fail(json, "a short plain string");
        out[size++] = *json->at;
    }
    json->at++;
    out[size] = '\0';
}

static int json_digits(const char **at) {
    int count = 0;
    for (; **at >= '0' && **at <= '9'; ++*at) count++;
    return count;
}

/* A number by the grammar of RFC 8259, section 6; strtod alone would take "inf" and "0x1". */
static double json_number(struct json *json) {
    json_space(json);
    const char *end = json->at;
    if (*end == '-') end++;
    const char *first = end;
    int digits = json_digits(&end);
    if (digits == 0 || (digits > 1 && *first == '0')) json_fail(json, "a number");
    if (*end == '.' && (end++, json_digits(&end) == 0)) json_fail(json, "a number");
    if (*end == 'e' || *end == 'E') {
        end++;
        if (*end == '+' || *end == '-') end++;
        if (json_digits(&end) == 0) json_fail(json, "a number");
    }
    double value = strtod(json->at, NULL);
    if (!isfinite(value)) json_fail(json, "a number of usual size");
    json->at = end;
    return value;
}

static void json_numbers(struct json *json, double *out, int count) {
    json_expect(json, '[');
    for (int i = 0; i < count; i++) {
        if (i > 0) json_expect(json, ',');
        out[i] = json_number(json);
    }
    json_expect(json, ']');
}

static void json_end(struct json *json) {
    json_space(json);
    if (*json->at != '\0') json_fail(json, "nothing more");
}

/* The index of `name` in `names`; each may come once, which `seen` remembers. */
static int json_key(const struct json *json, const char *name, const char *const *names, int count,
                    unsigned *seen) {
    for (int i = 0; i < count; i++) {
        if (strcmp(name, names[i]) != 0) continue;
        if (*seen & (1u << i)) fail("%s: \"%s\" stands twice", json->what, name);
        *seen |= 1u << i;
        return i;
    }
    fail("%s: unknown key \"%s\"", json->what, name);
}

#endif
