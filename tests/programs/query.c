/* A program for tests: loads the CSV file of its first argument into a SQLite database at its second, answers the queries of its other
   arguments, and lets the database itself say whether it is whole. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sqlite3.h"

static void fail(sqlite3 *db, const char *what) {
    fprintf(stderr, "%s: %s\n", what, db ? sqlite3_errmsg(db) : "no database");
    exit(3);
}

static int print_row(void *unused, int count, char **values, char **names) {
    (void)unused;
    (void)names;
    for (int i = 0; i < count; i++) printf(i ? "|%s" : "%s", values[i] ? values[i] : "NULL");
    putchar('\n');
    return 0;
}

static void run(sqlite3 *db, const char *sql) {
    if (sqlite3_exec(db, sql, print_row, NULL, NULL) != SQLITE_OK) fail(db, sql);
}

int main(int argc, char **argv) {
    char line[1024];
    sqlite3 *db = NULL;
    sqlite3_stmt *insert = NULL;
    if (argc < 3) {
        fputs("usage: query CSV DATABASE [SQL...]\n", stderr);
        return 2;
    }
    FILE *csv = fopen(argv[1], "r");
    if (!csv) {
        perror(argv[1]);
        return 2;
    }
    if (sqlite3_open(argv[2], &db) != SQLITE_OK) fail(db, "open");
    run(db, "PRAGMA temp_store = FILE");
    run(db, "CREATE TABLE sale (city TEXT, amount INTEGER)");
    if (sqlite3_prepare_v2(db, "INSERT INTO sale VALUES (?, ?)", -1, &insert, NULL) != SQLITE_OK) fail(db, "insert");
    run(db, "BEGIN");
    for (int number = 0; fgets(line, sizeof line, csv); number++) {
        char *comma = strchr(line, ',');
        if (!comma) continue;
        /* Several transactions, so that the journal is made and removed again and again. */
        if (number % 5000 == 4999) run(db, "COMMIT; BEGIN");
        sqlite3_bind_text(insert, 1, line, (int)(comma - line), SQLITE_TRANSIENT);
        sqlite3_bind_int(insert, 2, atoi(comma + 1));
        if (sqlite3_step(insert) != SQLITE_DONE) fail(db, "step");
        sqlite3_reset(insert);
    }
    run(db, "COMMIT");
    sqlite3_finalize(insert);
    fclose(csv);
    run(db, "CREATE INDEX by_city ON sale (city)");
    for (int i = 3; i < argc; i++) run(db, argv[i]);
    run(db, "PRAGMA integrity_check");
    if (sqlite3_close(db) != SQLITE_OK) fail(db, "close");
    return 0;
}
