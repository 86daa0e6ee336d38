/* What the tests in C share. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                                              \
    do {                                                                                                              \
        if (!(condition)) {                                                                                           \
            fprintf(stderr, "%s:%d: %s (last error: %s)\n", __FILE__, __LINE__, #condition, ek_last_error());         \
            exit(1);                                                                                                  \
        }                                                                                                             \
    } while (0)

/* The call failed with this status, and the message begins with the function's name and holds the text. */
#define FAILS(call, expected, function, text)                                                                         \
    do {                                                                                                              \
        const ek_status status_ = (call);                                                                             \
        const char *const message_ = ek_last_error();                                                                 \
        if (status_ != (expected) || strncmp(message_, function ": ", strlen(function) + 2) != 0 ||                   \
            strstr(message_, (text)) == NULL) {                                                                       \
            fprintf(stderr, "%s:%d: %s: got %s, \"%s\"; expected %s, \"%s: ... %s\"\n", __FILE__, __LINE__, #call,    \
                    ek_status_string(status_), message_, ek_status_string(expected), function, (text));               \
            exit(1);                                                                                                  \
        }                                                                                                             \
    } while (0)

#endif
